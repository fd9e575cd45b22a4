"""Everything that can be killed is killed, with SIGKILL, while tasks run: nothing is lost, doubled or left."""

import os
import select
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.home import Home
from tests.journeys.shell import Shell, alive

TASKS = 8


@pytest.fixture(scope="module", params=["plain", "ray"])
def farm(request: pytest.FixtureRequest) -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="fk-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        (home / "farm.toml").write_text(f'[site]\nengine = "{request.param}"\n[pools.local]\nceiling = 2\n')
        shell = Shell(home, Path(folder))
        shell("up")
        yield shell
        pids = [one["pid"] for one in shell.json("status")["processes"]]
        shell("down")
        assert not [pid for pid in pids if gone_within(pid, 5) is False]
        assert not Home(home).run.exists()


def gone_within(pid: int, seconds: float) -> bool:
    """Waits on the process itself, child of ours or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return not alive(pid) or bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Looks ten times a second: the farm is another process."""
    pause = threading.Event()
    for _ in range(int(seconds * 10)):
        if true():
            return
        pause.wait(0.1)
    raise AssertionError("it never came true")


@pytest.fixture
def runs(farm: Shell, tmp_path: Path) -> "Runs":
    return Runs(farm, tmp_path / "runs")


class Runs:
    """A job whose tasks write down that they began; a second begin of a task is a second run."""

    def __init__(self, farm: Shell, file: Path) -> None:
        self.farm, self.file = farm, file
        file.touch()
        script = f"echo $FARM_TASK >> {file}; sleep 1; echo end of $FARM_TASK"
        self.job = farm("submit", "--array", f"1-{TASKS}", "--", "sh", "-c", script).split()[1]
        until(lambda: len(self.begun()) >= 2)

    def begun(self) -> Counter[str]:
        return Counter(self.file.read_text().split())

    def kill(self, role: str) -> None:
        found: list[int] = []

        def look() -> bool:
            processes = self.farm.json("status")["processes"]
            found[:] = [p["pid"] for p in processes if p["role"] == role and alive(p["pid"])]
            return bool(found)

        until(look)
        os.kill(found[0], signal.SIGKILL)
        assert gone_within(found[0], 10)

    def finish(self) -> Counter[str]:
        """Wait for the end; every task succeeded, and its log is whole. How often each began."""
        self.farm("wait", str(self.job))
        shown = self.farm.json("show", str(self.job))
        assert shown["tasks"]["done"] == TASKS
        for number in (1, TASKS):
            assert self.farm("logs", f"{self.job}.{number}") == f"end of {self.job}.{number}\n"
        assert set(self.begun()) == {f"{self.job}.{n}" for n in range(1, TASKS + 1)}
        return self.begun()


def test_the_service_is_killed_and_its_successor_adopts_what_runs(runs: Runs) -> None:
    runs.kill("service")
    runs.farm("up")
    assert set(runs.finish().values()) == {1}


def test_the_gateway_is_killed_and_nothing_runs_twice(runs: Runs) -> None:
    runs.kill("gateway")
    assert set(runs.finish().values()) == {1}


def test_an_executor_is_killed_and_its_task_runs_elsewhere(runs: Runs) -> None:
    runs.kill("executor")
    again = runs.finish()
    assert max(again.values()) <= 2
    states = Counter(e["state"] for e in runs.farm.json("executors", "--all")["executors"])
    assert states["lost"] == 1


def test_the_agent_of_an_executor_is_killed(runs: Runs) -> None:
    runs.kill("agent")
    assert max(runs.finish().values()) <= 2


def test_a_second_farm_in_the_same_home_is_refused(farm: Shell) -> None:
    out = farm("up", "--foreground", status=3)
    assert "already" in out + farm.err


def test_everybody_is_sent_home_at_the_end(farm: Shell) -> None:
    until(lambda: farm.json("executors")["executors"] == [], 30)
    roles = {p["role"] for p in farm.json("status")["processes"]}
    until(
        lambda: (
            not (
                {"executor", "raylet", "agent", "keeper", "task"}
                & {p["role"] for p in farm.json("status")["processes"]}
            )
        ),
        10,
    )
    assert "service" in roles
