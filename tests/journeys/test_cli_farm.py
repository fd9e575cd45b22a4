"""The command line with a running farm: one service on plain processes for all of these."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.home import Home
from tests.journeys.shell import Shell, alive

SETTINGS = '[site]\nengine = "plain"\n[pools.local]\nfloor = 1\nceiling = 2\nprice_per_hour = 0.05\n'


@pytest.fixture(scope="module")
def farm() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="fj-") as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        (home / "farm.toml").write_text(SETTINGS)
        shell = Shell(home, work)
        try:
            shell("up")
            yield shell
        finally:
            pids = [one["pid"] for one in shell.json("status")["processes"]]
            shell("down", "--terminate")
            assert not [pid for pid in pids if alive(pid)]
            assert not shell.json("status")["processes"]
            assert not Home(home).run.exists()


def submitted(farm: Shell, *words: str) -> str:
    return farm("submit", *words).split()[1]


def test_a_command_runs_and_its_output_is_shown(farm):
    assert farm("submit", "--wait", "--", "sh", "-c", "echo hello; echo there >&2") == "hello\nthere\n"
    assert "done" in farm.err


def test_a_failed_job_makes_wait_exit_1(farm):
    farm("submit", "--wait", "--", "sh", "-c", "echo no; exit 7", status=1)
    job = submitted(farm, "--", "false")
    farm("wait", job, status=1)
    shown = farm.json("show", job)
    assert (shown["state"], shown["listed"][0]["exit"]) == ("failed", 1)


def test_up_twice_is_fine(farm):
    assert "already" in farm("up")


def test_status_names_the_processes(farm):
    roles = {one["role"] for one in farm.json("status")["processes"]}
    assert {"service", "gateway"} <= roles


def test_an_array_with_inputs_and_outputs(farm, tmp_path):
    (farm.cwd / "data").mkdir()
    (farm.cwd / "data" / "words.txt").write_text("one\ntwo\nthree\n")
    script = "sed -n {index}p data/words.txt > line.txt; cp line.txt only-{index}.txt"
    options = ("--array", "1-3", "--input", "data", "--output", "*.txt", "--env", "X=1")
    lines = farm("submit", *options, "--wait", "--json", "--", "sh", "-c", script).splitlines()
    states = [json.loads(line) for line in lines]
    job = str(states[0]["id"])
    assert states[-1]["state"] == "done"
    assert sum(len(state.get("finished_tasks", ())) for state in states) == 3
    farm("get", job, str(tmp_path / "out"))
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_text() for p in (tmp_path / "out").rglob("*.txt")}
    words = ("one\n", "two\n", "three\n")
    assert found == {f"only-{i}.txt": w for i, w in enumerate(words, 1)} | {
        f"{i}/line.txt": w for i, w in enumerate(words, 1)
    }


def test_get_never_overwrites_what_differs_unless_told(farm, tmp_path):
    job = submitted(farm, "--output", "x", "--", "sh", "-c", "echo new > x")
    farm("wait", job)
    (tmp_path / "x").write_text("mine")
    farm("get", job, str(tmp_path), status=2)
    assert (tmp_path / "x").read_text() == "mine"
    farm("get", job, str(tmp_path), "--overwrite")
    assert (tmp_path / "x").read_text() == "new\n"


def test_get_does_not_follow_a_link_out_of_the_folder(farm, tmp_path):
    job = submitted(farm, "--output", "**", "--", "sh", "-c", "mkdir d; echo evil > d/x")
    farm("wait", job)
    (tmp_path / "away").mkdir()
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "d").symlink_to(tmp_path / "away")
    farm("get", job, str(tmp_path / "dest"), "--overwrite", status=2)
    assert not list((tmp_path / "away").iterdir())


def test_logs_are_followed_while_they_are_written(farm, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    job = submitted(farm, "--", "sh", "-c", f"echo first; cat {go}; echo last")
    following = farm.start("logs", job, "-f", text=False)
    assert following.stdout.readline() == b"first\n"
    with go.open("w") as held:  # the task can't end before this does
        print("middle", file=held, flush=True)
        assert following.stdout.readline() == b"middle\n"
    assert following.stdout.read() == b"last\n"
    assert following.wait(20) == 0


def test_logs_pass_bytes_as_they_are_into_a_pipe(farm):
    job = submitted(farm, "--", "printf", r"\377\033[1mx\000\n")
    farm("wait", job)
    process = farm.start("logs", job, text=False)
    assert process.communicate(timeout=60)[0] == b"\xff\x1b[1mx\x00\n"


def test_logs_of_an_array_come_with_headings(farm):
    job = submitted(farm, "--array", "1-2", "--", "echo", "number", "{index}")
    farm("wait", job)
    assert farm("logs", job).splitlines() == [f"==> {job}.1 1 <==", "number 1", f"==> {job}.2 2 <==", "number 2"]
    assert sorted(farm("logs", job, "-f").splitlines()) == sorted(farm("logs", job).splitlines())


def test_ctrl_c_detaches_from_a_running_farm(farm, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    waiting = farm.start("submit", "--wait", "--", "sh", "-c", f"echo on; cat {go}; echo off")
    assert waiting.stdout.readline() == "on\n"
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert "farm wait" in err
    go.write_text("")
    job = str(farm.json("jobs", "--limit", "1")["jobs"][0]["id"])
    farm("wait", job)
    assert farm("logs", job) == "on\noff\n"


def test_after_waits_for_success(farm):
    first = submitted(farm, "--", "sh", "-c", "exit 1")
    farm("wait", first, status=1)
    farm("submit", "--after", first, "--", "true", status=2)
    assert "retry" in farm.err


def test_cancel_and_retry(farm, tmp_path):
    go = tmp_path / "go"
    job = submitted(farm, "--", "sh", "-c", f"test -e {go} || exec sleep 600")
    farm("cancel", job)
    farm("wait", job, status=1)
    assert farm.json("show", job)["state"] == "cancelled"
    go.touch()
    farm("retry", job)
    farm("wait", job)


def test_why_has_a_sentence_and_data(farm):
    job = submitted(farm, "--", "true")
    farm("wait", job)
    assert job in farm("why", job)
    assert set(farm.json("why", "pool", "local")) >= {"about", "state", "cause", "rule", "numbers", "next", "sentence"}
    assert farm.json("why", "local")["about"] == farm.json("why", "pool", "local")["about"]
    farm("why", "nothing-of-that-name", status=2)


def on_a_terminal(farm: Shell, *words: str, **env: str) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    process = farm.start(*words, stdout=theirs, stderr=theirs, stdin=theirs, text=False, env=env)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown.decode()


def test_a_terminal_gets_a_table_with_colours_unless_it_wants_none(farm):
    farm("wait", submitted(farm, "--", "true"))
    assert "\x1b[3" in on_a_terminal(farm, "jobs", TERM="xterm")
    assert "\x1b[3" not in on_a_terminal(farm, "jobs", TERM="xterm", NO_COLOR="1")


def test_a_terminal_is_not_told_what_to_do_by_a_log(farm):
    job = submitted(farm, "--", "printf", r"a\033]0;title\007b\n")
    farm("wait", job)
    assert on_a_terminal(farm, "logs", job) == "ab\r\n"
    assert on_a_terminal(farm, "logs", job, "--raw") == "a\x1b]0;title\x07b\r\n"


def test_nobody_reading_is_no_error(farm):
    process = farm.start("status", "--json")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_progress_of_many_tasks_is_a_bar_on_a_terminal(farm):
    shown = on_a_terminal(farm, "submit", "--wait", "--array", "1-4", "--", "true", TERM="xterm")
    assert "4/4 done" in shown
    assert "━" in shown


def test_down_asks_what_becomes_of_executors_that_cost_money(farm):
    farm("submit", "--wait", "--", "true")  # the floor's executor is there
    farm("down", status=2)
    assert re.search(r"paid executors?, 0\.\d+ EUR an hour", farm.err)
    assert "--terminate" in farm.err
    assert "--keep" in farm.err
    farm("down", "--keep", "--terminate", status=2)
    assert farm.json("status")["running"]


def test_kept_executors_are_taken_back(farm):
    farm("submit", "--wait", "--", "true")
    before = {one["id"] for one in farm.json("executors")["executors"] if one["state"] == "ready"}
    kept = farm.json("down", "--keep")["kept"]
    assert re.fullmatch(r"(1 paid executor, 0.05|2 paid executors, 0.10)00 EUR an hour", kept)
    farm("up")
    after = {one["id"]: one["state"] for one in farm.json("executors")["executors"]}
    assert before & set(after)
    assert farm("submit", "--wait", "--", "echo", "on") == "on\n"


def test_kept_executors_are_not_forgotten_by_a_farm_that_is_down(farm):
    farm("submit", "--wait", "--", "true")
    pids = [one["pid"] for one in farm.json("status")["processes"]]
    kept = farm.json("down", "--keep")["kept"]
    farm("down", status=2)
    assert f"still alive: {kept}" in farm.err
    assert "`farm up`, then `farm down --terminate`" in farm.err
    farm("down", "--terminate")
    assert not [pid for pid in pids if alive(pid)]
    assert farm.json("down") == {"home": str(farm.home), "was_up": False, "kept": ""}
    farm("up")


def test_frames_of_a_render_are_shown_on_a_terminal(farm):
    scene = "camera { location <0,1,-3> look_at 0 } light_source { <2,4,-3> rgb 1 } sphere { 0, 1 }"
    (farm.cwd / "ball.pov").write_text(scene)
    words = ("render", "ball.pov", "--frames", "1-4", "--size", "32x24", "--wait")
    shown = on_a_terminal(farm, *words, TERM="xterm", COLORTERM="truecolor")
    assert "▀" in shown
    assert all(f"frame{number}" in shown for number in range(1, 5))
    farm(*words)
    assert "▀" not in farm.err


def test_a_hook_is_installed_once_and_only_into_a_repository(farm, tmp_path):
    bare = tmp_path / "r.git"
    subprocess.run(["git", "init", "-q", "--bare", bare], check=True)
    hook = Path(farm.json("hook", "install", str(bare))["hook"])
    text = hook.read_text()
    assert farm.json("hook", "install", str(bare))["hook"] == str(hook)
    assert hook.read_text() == text
    farm("hook", "install", str(tmp_path), status=2)


@pytest.mark.parametrize("by", ["owner", "project", "job"])
def test_reports_add_up(farm, by):
    job = submitted(farm, "--owner", "ann", "--project", "film", "--", "true")
    farm("wait", job)
    report = farm.json("report", "cost", "--by", by)
    assert set(report) >= {"currency", "rows", "total", "always_on"}
    lines = farm("report", "usage", "--by", by, "--csv").splitlines()
    assert lines[0] == "key,boot_s,busy_s,idle_s,drain_s"
    assert len(lines) > 1


@pytest.mark.parametrize(
    "words",
    [("jobs",), ("executors",), ("executors", "--all"), ("pools",), ("schedule", "show"), ("status",), ("doctor",)],
)
def test_lists_are_text_or_one_json_value(farm, words):
    assert "\x1b" not in farm(*words)
    assert farm.json(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "99999"), "99999"),
        (("submit", "--lane", "fast", "--", "true"), "interactive"),
        (("submit", "--needs", "cpu=999", "--", "true"), "999"),
        (("submit", "--input", "nowhere", "--", "true"), "nowhere"),
        (("submit", "--output", "/etc/*", "--", "true"), "/etc"),
        (("submit", "--", "true", os.fsdecode(b"\xff")), "UTF-8"),
    ],
)
def test_wrong_requests_exit_2_with_a_remedy(farm, words, said):
    farm(*words, status=2)
    assert said in farm.err
    assert farm.err.startswith("farm: ")
    assert farm.err.count("\n") == 1
