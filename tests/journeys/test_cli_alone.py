"""The command line without a running farm: the queue by itself, and a farm for as long as one waits."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.home import Home

ROOT = Path(__file__).parents[2]


class Alone:
    """A home in which nothing runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "FARM_HOME": str(home), "PYTHONPATH": str(ROOT)}

    def start(self, *words: str) -> subprocess.Popen:
        argv, pipe = [sys.executable, "-m", "farm", *words], subprocess.PIPE
        return subprocess.Popen(
            argv, cwd=self.home, env=self.env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def __call__(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        out, self.err = process.communicate(timeout=120)
        assert process.returncode == status, f"{words} ended with {process.returncode}:\n{out}\n{self.err}"
        return out

    def state(self, ref: str) -> str:
        return json.loads(self("show", ref, "--json"))["state"]

    def nothing_runs(self) -> bool:
        """No process of this home is left, whatever its parent."""
        mark = f"FARM_HOME={self.home}".encode()
        return not any(mark in _environment(pid) for pid in os.listdir("/proc") if pid.isdigit())


def _environment(pid: str) -> list[bytes]:
    try:
        return Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture
def alone() -> Iterator[Alone]:
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        home = Path(folder, "h")
        home.mkdir()
        (home / "farm.toml").write_text('[site]\nengine = "plain"\n')
        yield Alone(home)
        assert not Home(home).run.exists()


def test_submit_enqueues_and_says_what_to_type(alone):
    assert alone("submit", "--", "true") == "job 1\n"
    assert "farm up" in alone.err
    assert json.loads(alone("jobs", "--json"))["jobs"][0]["state"] == "queued"
    alone("wait", "1", status=3)
    assert "farm up" in alone.err
    assert "down" in alone("status")


def test_waiting_brings_a_farm_and_takes_it_away(alone):
    assert alone("submit", "--wait", "--", "echo", "hello") == "hello\n"
    assert alone.nothing_runs()
    assert alone.state("1") == "done"
    alone("wait", "1")
    assert alone("logs", "1") == "hello\n"
    alone("submit", "--wait", "--", "false", status=1)
    assert alone.nothing_runs()


def test_ctrl_c_puts_the_work_back(alone):
    waiting = alone.start("submit", "--wait", "--", "sh", "-c", "echo on; exec sleep 600")
    assert waiting.stdout.readline() == "on\n"
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "farm up" in err
    assert alone.nothing_runs()
    assert alone.state("1.1") == "ready"


def test_the_last_waiter_to_leave_stops_the_farm(alone, tmp_path):
    first_go, second_go = tmp_path / "first", tmp_path / "second"
    os.mkfifo(first_go)
    os.mkfifo(second_go)
    first = alone.start("submit", "--wait", "--", "sh", "-c", f"echo on; cat {first_go}")
    assert first.stdout.readline() == "on\n"
    second = alone.start("submit", "--wait", "--", "sh", "-c", f"echo on; cat {second_go}")
    assert second.stdout.readline() == "on\n"
    first_go.write_text("first\n")
    assert first.stdout.readline() == "first\n"
    second_go.write_text("second\n")
    assert second.communicate(timeout=60)[0] == "second\n"
    assert second.returncode == 0
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert alone.nothing_runs()


def test_a_farm_that_cannot_start_says_why(alone):
    (alone.home / "farm.toml").write_text('[site]\nengin = "plain"\n')
    alone("up", status=3)
    assert "engine" in alone.err
    assert alone.err.count("\n") == 1
    alone("jobs", status=3)
    assert "engine" in alone.err


def test_bench_measures_the_whole_way(alone):
    words = ("--tasks", "20", "--runs", "1", "--singles", "2", "--engine", "plain", "--json")
    found = json.loads(alone("bench", "dispatch", *words))
    assert set(found) >= {"ratio", "cpu_ms_per_task", "bare_per_second", "per_second", "start_p50_ms", "start_p99_ms"}
    assert {name for name in found if name.startswith("cpu_ms_")} >= {"cpu_ms_service", "cpu_ms_keeper", "cpu_ms_agent"}
    assert found["per_second"] > 0
    assert found["ratio"] == pytest.approx(found["per_second"] / found["bare_per_second"], rel=0.01)
    assert alone.nothing_runs()


@pytest.mark.parametrize("words", [("jobs",), ("up",), ("submit", "--wait", "--", "true")])
def test_a_damaged_database_exits_3_with_a_remedy(alone, words):
    (alone.home / "farm.db").write_bytes(b"no database at all" * 1000)
    alone(*words, status=3)
    assert "damaged" in alone.err
    assert alone.err.count("\n") == 1
    assert not (alone.home / "error.log").exists()


def test_an_unusable_home_exits_3(alone):
    alone("jobs", "--home", "/proc/nowhere", status=3)
    assert "--home" in alone.err
