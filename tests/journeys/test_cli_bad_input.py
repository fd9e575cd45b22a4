"""What can't be done, typed by a person: one sentence, the right exit status, nothing half made."""

import json
import os
import resource
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.home import BadHome, Home
from tests.journeys.shell import Shell

ZERO, ONE = "0" * 40, "1" * 40
OWN = "def get_requires_for_build_wheel(config_settings=None):\n    return []\n"


def shell_in(folder: Path) -> Shell:
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    (home / "farm.toml").write_text('[site]\nengine = "plain"\n')
    return Shell(home, work)


@pytest.fixture(scope="module")
def farm() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        shell = shell_in(Path(folder))
        _desk(shell.cwd)
        try:
            shell("up")
            yield shell
        finally:
            shell("down")
            assert not Home(shell.home).run.exists()


@pytest.fixture
def alone() -> Iterator[Shell]:
    """A home in which nothing runs."""
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        shell = shell_in(Path(folder))
        yield shell
        assert not Home(shell.home).run.exists()


def _desk(work: Path) -> None:
    """Things that are not what they seem."""
    (work / "bad.pov").write_text("sphere { nonsense")
    for name in ("leads-out", "leads-nowhere", "pipe", "bytes", "names"):
        (work / name).mkdir()
    (work / "leads-out" / "x").symlink_to("/etc/passwd")
    (work / "leads-nowhere" / "x").symlink_to("nothing")
    os.mkfifo(work / "pipe" / "x")
    Path(os.fsdecode(bytes(work / "bytes") + b"/\xff")).touch()
    for name in ("sp ace", "q'uo\"te", "new\nline", "$x"):
        (work / "names" / name).write_text(name)
    _package(work / "circle" / "a", "b")
    _package(work / "circle" / "b", "a")
    (work / "broken" / "a").mkdir(parents=True)
    (work / "broken" / "a" / "pyproject.toml").write_text("[build-system\n")
    subprocess.run(["git", "init", "-q", "--bare", work / "r.git"], check=True)


def _package(folder: Path, needs: str) -> None:
    folder.mkdir(parents=True)
    (folder / "own.py").write_text(OWN)
    build = f'[build-system]\nrequires=["{needs}"]\nbuild-backend="own"\nbackend-path=["."]\n'
    (folder / "pyproject.toml").write_text(f'{build}[project]\nname="{folder.name}"\nversion="1"\n')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("submit", "--lane", "bulkk", "--", "true"), "did you mean 'bulk'?"),
        (("submit", "--needs", "memory=900T", "--", "true"), "of memory; the largest executor has"),
        (("submit", "--needs", "cpu=999", "--", "true"), "999 cpus"),
        (("submit", "--cwd", "../x", "--", "true"), "--cwd"),
        (("submit", "--env", "A B=1", "--", "true"), "NAME=VALUE"),
        (("submit", "--env", "FARM_JOB=1", "--", "true"), "set by the farm"),
        (("submit", "--after", "99999", "--", "true"), "no job 99999"),
        (("submit", "--input", "leads-out", "--", "true"), "points out of the input"),
        (("submit", "--input", "leads-nowhere", "--", "true"), "points to nothing"),
        (("submit", "--input", "pipe", "--", "true"), "neither a file nor a folder"),
        (("submit", "--input", "bytes", "--", "true"), "not UTF-8"),
        (("submit", "--name", "two\nlines", "--", "true"), "control character"),
        (("submit", "--array", "1-99999999", "--", "true"), "too many"),
        (("render", "bad.pov", "--frames", "3-1"), "write 1-3"),
        (("render", "bad.pov", "--of", "3-1"), "--of"),
        (("render", "bad.pov", "--turn"), "camera"),
        (("render", "bad.pov", "--out", "bad.pov"), "File exists"),
        (("rebuild", "circle"), "a needs b needs a"),
        (("rebuild", "broken"), "no TOML"),
        (("rebuild", "names"), "no package here"),
        (("rebuild", "r.git", "--changed", "x..y"), "no commit"),
        (("get", "99999"), "no job 99999"),
        (("show", "99999.1"), "no job 99999"),
        (("why", ""), "farm jobs"),
        (("report", "cost", "--since", "x"), "2026-01-31T12:00:00Z"),
        (("hook", "install", "names"), "no git repository"),
        (("event", "names"), "no git repository"),
        (("down", "--keep", "--drain"), "--keep"),
    ],
)
def test_one_sentence_and_exit_2(farm, words, said):
    before = len(farm.json("jobs")["jobs"])
    process = farm.start(*words, stdin=subprocess.PIPE)
    out, err = process.communicate(f"{ZERO} {ONE} refs/heads/main\n", timeout=60)
    assert process.returncode == 2, (out, err)
    assert said in err
    assert err.startswith("farm: ")
    assert err.count("\n") == 1
    assert not (farm.home / "error.log").exists()
    assert len(farm.json("jobs")["jobs"]) == before, "half a job was made"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense\n", "OLD NEW REF"),
        (b"a b c\n", "no object id"),
        (f"{ZERO} {ONE} refs/heads/../x\n".encode(), "no ref"),
        (f"{ZERO} {ONE} refs/heads/main\n".encode(), "no commit"),
        (b"\xff\xfe x y\n", "not UTF-8"),
    ],
)
def test_a_hook_called_with_nonsense(farm, line, said):
    process = farm.start("event", "r.git", stdin=subprocess.PIPE, text=False)
    _, err = process.communicate(line, timeout=60)
    assert (process.returncode, err.count(b"\n")) == (2, 1)
    assert said in err.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("submit", "--", "no-such-program"), "no-such-program"),
        (("submit", "--cwd", "/no-such-folder", "--", "true"), "/no-such-folder"),
        (("submit", "--", "sh", "-c", "echo the reason; exit 7"), "exit 7"),
        (("submit", "--array", "1-2", "--", "sh", "-c", "echo the reason {index}; exit {index}"), "the reason 2"),
        (("submit", "--timeout", "1", "--", "sleep", "600"), "timeout"),
        (("render", "bad.pov", "--frames", "1-2", "--size", "32x24"), "Parse Error"),
    ],
)
def test_a_wait_that_fails_says_why_and_what_to_type(farm, words, said):
    farm(words[0], "--wait", *words[1:], status=1)
    assert said in farm.err
    assert "farm logs" in farm.err
    assert "Traceback" not in farm.err


def test_many_failures_are_told_of_in_few_lines(farm):
    farm("submit", "--wait", "--array", "1-40", "--", "false", status=1)
    assert "35 more tasks failed" in farm.err
    assert farm.err.count(" failed: exit 1") == 5


def test_names_of_any_kind_go_there_and_back(farm, tmp_path):
    farm("submit", "--wait", "--input", "names", "--output", "names/*", "--", "true")
    job = str(farm.json("jobs", "--limit", "1")["jobs"][0]["id"])
    assert len(farm("get", job, str(tmp_path / "got")).splitlines()) == 4
    assert {path.name: path.read_text() for path in (tmp_path / "got" / "names").iterdir()} == {
        name: name for name in ("sp ace", "q'uo\"te", "new\nline", "$x")
    }
    farm("get", job, str(farm.cwd / "bad.pov"), status=2)
    assert "choose another" in farm.err


def test_a_token_without_an_array_is_asked_about(farm):
    farm("submit", "--", "echo", "{index}")
    assert "--array" in farm.err
    farm("submit", "--array", "1", "--", "echo", "{index}")
    assert farm.err == ""


def test_an_attempt_can_be_looked_at(farm):
    farm("submit", "--wait", "--", "sh", "-c", "exit 7", status=1)
    job = farm.json("jobs", "--limit", "1")["jobs"][0]["id"]
    assert f"{job}.1.1" in farm("show", f"{job}.1.1")
    farm("show", f"{job}.1.9", status=2)
    assert "no attempt 9" in farm.err


def test_a_hook_that_is_there_is_said_to_be(farm):
    assert farm("hook", "install", "r.git").startswith("installed")
    assert "already" in farm("hook", "install", "r.git")
    assert not farm.json("hook", "install", "r.git")["new"]


def test_a_second_farm_in_one_home_is_refused_in_the_foreground_too(farm):
    assert "already" in farm("up")
    farm("up", "--foreground", status=3)
    assert "a farm runs here already" in farm.err
    assert "farm status" in farm.err
    assert farm.err.count("\n") == 1
    assert farm.json("status")["running"]


def test_ctrl_c_before_anything_was_queued_says_so(alone):
    waiting = alone.start("submit", "--wait", "--", "sleep", "600")
    pause = threading.Event()
    while not (alone.home / "service.lock").exists() and waiting.poll() is None:
        pause.wait(0.005)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "before anything was queued" in err or "stays in the queue" in err


@pytest.mark.parametrize("words", [("submit", "--", "true"), ("jobs",), ("up",), ("submit", "--wait", "--", "true")])
def test_a_disk_that_takes_no_more_exits_3(alone, words):
    """A limit on the size of files stands for the full disk."""

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    process = alone.start(*words, "--json", preexec_fn=narrow) if words[-1] != "true" else None
    process = process or alone.start(words[0], "--json", *words[1:], preexec_fn=narrow)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, (out, err)
    assert set(json.loads(out)["error"]) == {"what", "where", "remedy"}
    assert "Traceback" not in err
    assert not (alone.home / "error.log").exists()


def test_a_home_that_can_only_be_read_is_refused_before_anything_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("farm.home.os.access", lambda _path, _mode: False)
    with pytest.raises(BadHome, match="can't be used") as caught:
        Home(tmp_path).make()
    assert caught.value.where == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_home_below_a_file_is_refused(alone):
    (alone.cwd / "file").touch()
    found = json.loads(alone("jobs", "--json", "--home", str(alone.cwd / "file" / "home"), status=3))
    assert found["error"]["remedy"] == "choose another with --home or FARM_HOME"
