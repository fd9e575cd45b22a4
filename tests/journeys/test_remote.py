"""Every command of a client against a farm that is only an address and a token."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.journeys.far import Far, Near, near
from tests.journeys.shell import alive

HEAVY = ("ray", "sqlalchemy", "alembic", "boto3", "botocore", "kubernetes", "uvicorn", "fastapi", "ssl", "http.client")


@pytest.fixture(scope="module")
def farm() -> Iterator[Near]:
    with near() as made:
        yield made


@pytest.fixture(scope="module")
def far(farm: Near) -> Far:
    return farm.far


def submitted(far: Far, *words: str) -> str:
    return far("submit", *words).split()[1]


def test_every_command_of_a_client_works_and_loads_nothing_heavy(farm, far):
    job = submitted(far, "--", "echo", "hello")
    far("wait", job)
    failed = submitted(far, "--", "false")
    far("wait", failed, status=1)
    (far.cwd / "scene.pov").write_text("sphere { 0, 1 }\n")
    (far.cwd / "tree").mkdir()
    text = '[build-system]\nrequires=[]\nbuild-backend="own"\nbackend-path=["."]\n[project]\nname="p"\nversion="1"\n'
    (far.cwd / "tree" / "pyproject.toml").write_text(text)
    (far.cwd / "tree" / "own.py").write_text("")
    commands = [
        ("submit", "--wait", "--", "true"),
        ("status",),
        ("jobs",),
        ("show", job),
        ("show", f"{job}.1"),
        ("logs", job),
        ("logs", job, "-f"),
        ("why", job),
        ("why", "pool", "local"),
        ("wait", job),
        ("get", job, "out"),
        ("get", job, "out", "--follow"),
        ("executors", "--all"),
        ("pools",),
        ("schedule", "show"),
        ("report", "cost"),
        ("report", "usage", "--by", "project"),
        ("retry", failed),
        ("render", "scene.pov", "--frames", "1-2", "--film"),
        ("rebuild", "tree"),
        ("hold", "lane:bulk", "--why", "to see"),
        ("release", "lane:bulk"),
        ("acts",),
        ("prune", "--dry-run"),
    ]
    script = (
        "import json, sys; from farm.cli import main;"
        "codes = [(words, main(words)) for words in json.loads(sys.argv[1])];"
        f"print(json.dumps([codes, [name for name in {HEAVY} if name in sys.modules]]), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", script, json.dumps(commands)]
    done = subprocess.run(argv, cwd=far.cwd, env=far.env, capture_output=True, text=True, timeout=120)
    codes, heavy = json.loads(done.stderr.splitlines()[-1])
    assert [words for words, code in codes if code != 0] == [], done.stderr
    assert heavy == []
    made = {path.relative_to(far.home).as_posix() for path in far.home.rglob("*") if path.is_file()}
    assert {name for name in made if not name.startswith(".cache/")} == set(), "nothing of a farm is made here"


def test_a_cancelled_job_is_cancelled_there(far):
    job = submitted(far, "--", "sleep", "600")
    far("cancel", job)
    assert far.json("show", job)["state"] == "cancelled"


def test_inputs_go_there_and_outputs_come_as_the_tasks_end(far):
    (far.cwd / "data").mkdir()
    (far.cwd / "data" / "words.txt").write_text("one\ntwo\n")
    (far.cwd / "data" / "run.sh").write_text(
        "#!/bin/sh\nsed -n $1p data/words.txt > out.txt\nmkdir n; cp out.txt n/$1\n"
    )
    (far.cwd / "data" / "run.sh").chmod(0o755)
    options = ("--array", "1-2", "--input", "data", "--output", "*.txt", "--output", "n/*", "--fetch", "got")
    far("submit", *options, "--", "data/run.sh", "{index}")
    found = {p.relative_to(far.cwd / "got").as_posix(): p.read_text() for p in far.cwd.glob("got/**/*") if p.is_file()}
    assert {name: found[name] for name in ("n/1", "n/2")} == {"n/1": "one\n", "n/2": "two\n"}
    of_both = {name: text for name, text in found.items() if name.endswith("out.txt")}
    assert sorted(of_both.values()) == ["one\n", "two\n"]
    assert "out.txt" in of_both
    assert len(found) == 4


def test_what_comes_while_it_is_followed_is_fetched_before_the_end(far, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"echo $FARM_INDEX > $FARM_INDEX.txt; [ $FARM_INDEX = 1 ] || cat {go}"
    job = submitted(far, "--array", "1-2", "--output", "*.txt", "--", "sh", "-c", script)
    following = far.start("get", job, "followed", "--follow")
    eventually(lambda: (far.cwd / "followed" / "1.txt").exists())
    assert following.poll() is None
    go.write_text("")
    out, err = following.communicate(timeout=60)
    assert (following.returncode, sorted(out.split())) == (0, ["followed/1.txt", "followed/2.txt"]), err


@pytest.mark.parametrize("words", [("up",), ("down",), ("doctor",), ("database", "check")])
def test_what_is_done_at_home_only_says_so(far, words):
    assert "on the farm's own machine only" in far.says(*words, status=2)


def test_a_home_that_is_named_goes_before_the_address(farm, far):
    assert "there is no farm here" in far.says("jobs", "--home", str(far.cwd / "none"), status=3)
    assert "there is no farm here" in far.says("jobs", status=3, env={"FARM_HOME": str(far.cwd / "none")})
    assert far.json("status", "--home", str(farm.home.path))["home"] == str(farm.home.path)


# ── A cut wire, a service that starts anew ───────────────────────────────────────────────────────


class Talking:
    """A task that writes a line whenever it is told to."""

    def __init__(self, far: Far, folder: Path) -> None:
        self._fifo = folder / "lines"
        os.mkfifo(self._fifo)
        self.job = submitted(far, "--", "sh", "-c", f"echo begin; cat {self._fifo}; echo end")
        self._pipe = self._fifo.open("w")  # as soon as the task reads
        self.said = ["begin"]

    def say(self, count: int) -> None:
        for _ in range(count):
            self.said.append(f"line {len(self.said)}")
            print(self.said[-1], file=self._pipe, flush=True)

    def end(self) -> str:
        self._pipe.close()
        return "\n".join([*self.said, "end", ""])


def heard(process: subprocess.Popen, lines: int) -> list[str]:
    return [process.stdout.readline() for _ in range(lines)]


def test_a_log_is_followed_over_a_cut_wire_no_line_lost_or_doubled(farm, far, tmp_path):
    talking = Talking(far, tmp_path)
    following = far.start("logs", talking.job, "-f")
    shown = heard(following, 1)
    for _ in range(3):
        talking.say(5)
        shown += heard(following, 5)
        seen = farm.proxy.refused
        farm.proxy.cut()
        talking.say(5)
        eventually(lambda before=seen: farm.proxy.refused >= before + 2)  # at the second it has said so
        farm.proxy.mend()
        shown += heard(following, 5)
    whole = talking.end()
    rest, err = following.communicate(timeout=60)
    assert "".join(shown) + rest == whole
    assert following.returncode == 0
    assert err.count("trying again for 5 min") == err.count("the farm answers again") == 3


def test_a_wait_bears_a_cut_wire_and_says_so_once(farm, far, tmp_path):
    talking = Talking(far, tmp_path)
    asked = farm.proxy.asked(b"/wait")
    waiting = far.start("wait", talking.job)
    eventually(lambda: farm.proxy.asked(b"/wait") > asked)
    seen = farm.proxy.refused
    farm.proxy.cut()
    eventually(lambda: farm.proxy.refused >= seen + 4)
    farm.proxy.mend()
    talking.end()
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert err.count("trying again for 5 min") == err.count("the farm answers again") == 1


@pytest.mark.parametrize("place", ["near", "far"])
def test_a_service_that_is_killed_and_starts_anew_is_awaited(farm, far, tmp_path, place):
    talking = Talking(far, tmp_path)
    here = far if place == "far" else farm.shell
    following, waiting = here.start("logs", talking.job, "-f"), here.start("wait", talking.job, "--json")
    shown = heard(following, 1)
    first = waiting.stdout.readline()
    talking.say(3)
    shown += heard(following, 3)
    os.kill(farm.service(), signal.SIGKILL)
    talking.say(3)
    farm.shell("up")
    shown += heard(following, 3)
    whole = talking.end()
    rest, _ = following.communicate(timeout=60)
    assert ("".join(shown) + rest, following.returncode) == (whole, 0)
    told, err = waiting.communicate(timeout=60)
    states = [json.loads(line) for line in [first, *told.splitlines()]]
    assert (waiting.returncode, states[-1]["state"]) == (0, "done"), err
    assert sum(len(state["finished_tasks"]) for state in states) == 1


@pytest.mark.parametrize("how", ["down", "term"])
def test_a_farm_that_is_shut_down_and_comes_up_again_is_awaited(farm, far, tmp_path, how):
    """Its task goes back into the queue, or is adopted; who follows sees what comes then."""
    talking = Talking(far, tmp_path)
    following, waiting = far.start("logs", talking.job, "-f"), farm.shell.start("wait", talking.job)
    shown = heard(following, 1)
    talking.say(2)
    shown += heard(following, 2)
    if how == "down":
        farm.shell("down", "--terminate")
    else:
        pid = farm.service()
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not alive(pid))
    farm.shell("up")
    if how == "down":
        shown += heard(following, 1)  # the second attempt begins
        talking.said.append("begin")
    whole = talking.end()
    rest, err = following.communicate(timeout=60)
    assert ("".join(shown) + rest, following.returncode) == (whole, 0), err
    assert err.count(f"attempt {talking.job}.1.2") == (how == "down")
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err


def test_patience_ends_when_it_said(farm, far, tmp_path):
    talking = Talking(far, tmp_path)
    asked = farm.proxy.asked(b"/wait")
    waiting = far.start("wait", talking.job, env={"FARM_PATIENCE": "2s"})
    eventually(lambda: farm.proxy.asked(b"/wait") > asked)
    farm.proxy.cut()
    _, err = waiting.communicate(timeout=60)
    farm.proxy.mend()
    talking.end()
    assert waiting.returncode == 3
    said = [line for line in err.splitlines() if " done, " not in line]  # how far it is may have been told before
    assert "trying again for 2.0 s" in said[0]
    assert len(said) == 2


def test_an_answer_that_is_lost_makes_no_second_job(farm, far):
    before = len(far.json("jobs", "--limit", "1000")["jobs"])
    farm.proxy.lose_answers(1)
    job = submitted(far, "--name", "once", "--", "true")
    assert farm.proxy.happened.is_set()
    assert len(far.json("jobs", "--limit", "1000")["jobs"]) == before + 1
    far("wait", job)


def test_an_upload_that_is_cut_goes_on(farm, far):
    big = far.cwd / "big"
    big.write_bytes(os.urandom(20 << 20))
    farm.proxy.cut_upload(5 << 20)
    far("submit", "--wait", "--input", "big", "--output", "copy", "--fetch", "back", "--", "cp", "big", "copy")
    assert farm.proxy.happened.is_set()
    assert (far.cwd / "back" / "copy").read_bytes() == big.read_bytes()


# ── What is wrong is said in a sentence ──────────────────────────────────────────────────────────


def test_wrong_addresses_and_tokens(farm, far):
    token = farm.home.token()
    port = str(farm.proxy.port)
    for url, status, words in [
        ("farm.example.org:8443", 2, "begin with https://"),
        ("ftp://farm.example.org", 2, "ftp://"),
        ("http://farm.example.org:8443", 2, "in the clear"),
        ("http://127.0.0.1.example.org:8443", 2, "in the clear"),
        ("https://ada:secretword@farm.example.org", 2, "user or password"),
        ("https://farm.example.org:99999", 2, "no URL"),
        ("http://127.0.0.1:1", 3, "nothing listens there"),
        ("https://nowhere.invalid", 3, "no machine of that name"),
        (f"https://localhost:{port}", 3, "another protocol"),
    ]:
        said = far.says("jobs", status=status, env={"FARM_URL": url})
        assert words in said
        assert token not in said
        assert "secretword" not in said
    for bad in ("hush", "farm_0123456789_" + "x" * 43):
        said = far.says("jobs", status=3, env={"FARM_TOKEN": bad})
        assert "token" in said
        assert bad not in said
    for bad in ("two words", "schlüssel", "line\nfeed"):
        said = far.says("jobs", status=2, env={"FARM_TOKEN": bad})
        assert "no token of a farm" in said
        assert bad not in said
    assert "FARM_TOKEN" in far.says("jobs", status=3, env={"FARM_TOKEN": ""})
    assert "duration" in far.says("wait", "1", status=2, env={"FARM_PATIENCE": "soon"})


def test_what_is_no_farm_or_one_of_another_version_is_told(far):
    for answer, words in [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "no farm"),
        (b"HTTP/1.1 200 OK\r\nFarm-Api: 2\r\nFarm-Version: 9.9\r\nContent-Length: 2\r\n\r\n{}", "of version 9.9"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", "a proxy before the farm says 502"),
        (b"SSH-2.0-OpenSSH\r\n", "another protocol"),
        (b"", "went away"),
    ]:
        with Says(answer) as other:
            assert words in far.says("jobs", status=3, env={"FARM_URL": other.url})


class Says(threading.Thread):
    """Answers everybody the same, once a request has come."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(daemon=True)
        import socket

        self._answer, self._listening = answer, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def run(self) -> None:
        try:
            while True:
                taken, _ = self._listening.accept()
                with taken:
                    taken.recv(65536)
                    taken.sendall(self._answer)
        except OSError:
            return

    def __enter__(self) -> "Says":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        import socket

        self._listening.shutdown(socket.SHUT_RDWR)
        self.join(60)
        self._listening.close()
