"""The light program of an owned machine, beside a farm that says what we want it to say."""

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from executors.invitation import Invitation
from executors.program import packed
from executors.reach import Reach
from executors.site import lodger, standby
from executors.site.lodger import Lodger
from executors.site.presence import House
from executors.site.trust import Trust
from executors.static import HEARD_S
from tests.contract.yard import eventually
from tests.unit.certificates import Authority

WAIT_S = 30


class FakeFarm:
    """Answers with what is put into `answers`, once each; else with nothing to do. Keeps what it was told."""

    def __init__(self) -> None:
        self.words: list[dict] = []
        self.entered: list[dict] = []
        self.answers: list[dict] = []
        self.refuse: tuple[int, dict] | None = None
        self.asked = threading.Condition()
        farm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, said = farm.said(self.path, body, self.headers["Authorization"])
                self._answer(status, json.dumps(said).encode())

            def do_GET(self) -> None:
                assert self.path == "/v1/executor.pyz"
                self._answer(200, packed())

            def _answer(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):  # who was in a hurry has gone
                    self.wfile.write(data)

            def log_message(self, *_words) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def said(self, path: str, body: dict, token: str) -> tuple[int, dict]:
        if self.refuse:
            return self.refuse
        if path.endswith("/standby/ticket"):
            self.entered.append(body | {"token": token})
            return 200, {"token": "own", "machine": "ws-1", "farm": "f1"}
        if path == "/v1/join/failed":
            return 200, {"kept": True}
        assert path == "/v1/pools/desks/standby"
        with self.asked:
            self.words.append(body | {"token": token})
            self.asked.notify_all()
            if self.answers:
                return 200, {"invitation": "", "end": ""} | self.answers.pop(0)
            if not body["ended"]:
                self.asked.wait(min(body["wait_s"], 0.3))
        return 200, {"invitation": "", "end": ""}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def farm() -> Iterator[FakeFarm]:
    made = FakeFarm()
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "executor.pyz"
    file.write_bytes(packed())
    return file


@pytest.fixture
def start(farm: FakeFarm, program: Path, tmp_path: Path):
    running = []

    def begin(*more: str, ticket: str = "the ticket") -> subprocess.Popen:
        (tmp_path / "ticket").write_text(f"{ticket}\n")
        places = ("--ticket", str(tmp_path / "ticket"), "--folder", str(tmp_path / "state"))
        words = ("--join", farm.url, "--pool", "desks", *places, "--slots", "2", *more)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        argv = [sys.executable, "-IS", str(program), *words]
        running.append(subprocess.Popen(argv, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def invitation(farm: FakeFarm, executor: str = "a-1", setup: str = "") -> dict:
    return {"invitation": Invitation(farm.url, "", "f1", "desks", executor, 1, "s", 1.0, "plain", setup).text()}


def last(farm: FakeFarm, **wanted) -> bool:
    return any(all(word[k] == v for k, v in wanted.items()) for word in farm.words)


def test_it_enters_once_and_stands_by_with_a_token_of_its_own(farm, start, tmp_path):
    one = start()
    eventually(lambda: last(farm, free=True, slots=2, running="", token="Bearer own"))
    assert [e["token"] for e in farm.entered] == ["Bearer the ticket"]
    assert (tmp_path / "state/token").stat().st_mode & 0o077 == 0
    one.terminate()
    assert one.wait(WAIT_S) == 0
    count = len(farm.words)
    start()  # with the ticket that was used: as a unit does after a restart
    eventually(lambda: len(farm.words) > count)
    assert len(farm.entered) == 1


def test_another_ticket_is_another_entrance(farm, start):
    one = start()
    eventually(lambda: last(farm, free=True))
    one.terminate()
    one.wait(WAIT_S)
    start(ticket="another")
    eventually(lambda: [e["token"] for e in farm.entered][-1] == "Bearer another")


def test_who_lodges_here_goes_before_another_token_comes(farm, start, tmp_path, monkeypatch):
    """Its tasks would read that: what covers a token in a keeper's namespace goes with the file it covers."""
    state, there = tmp_path / "state", []
    state.mkdir(mode=0o700)
    (state / "token").write_text("before")
    lodging = Lodger(state)  # whoever stood by was killed
    lodging.start(Invitation("http://127.0.0.1:9", "", "f1", "desks", "a-1", 2, "s", 60, "plain"))
    said = farm.said
    monkeypatch.setattr(farm, "said", lambda *about: there.append(lodging.running) or said(*about))
    start()
    eventually(lambda: last(farm, free=True, running="", token="Bearer own"), WAIT_S)
    assert set(there) == {""}
    lodging.ended()


def test_a_hold_file_is_told_at_once_and_its_end_too(farm, start, tmp_path):
    start("--hold-file", str(tmp_path / "hold"))
    eventually(lambda: last(farm, free=True))
    (tmp_path / "hold").touch()
    eventually(lambda: last(farm, free=False, why=f"the hold file {tmp_path / 'hold'} is there"))
    farm.words.clear()
    (tmp_path / "hold").unlink()
    eventually(lambda: last(farm, free=True, why=""))


def test_what_the_farm_notes_of_a_machine_is_told_once(farm, start):
    note = {"note": "executors of pool desks have 9 slots, this machine has 2"}
    farm.answers += [note, note, note]
    one = start()
    eventually(lambda: len(farm.words) > 4, WAIT_S)
    one.terminate()
    said = one.communicate(timeout=WAIT_S)[1]
    assert said.count("have 9 slots, this machine has 2") == 1
    assert said.count("as many slots as its pool's executors") == 1


def test_an_executor_that_can_not_begin_is_told_with_its_last_words(farm, start):
    farm.answers.append(invitation(farm, setup="#!/bin/sh\necho no such luck\nexit 3\n"))
    start()
    eventually(lambda: last(farm, ended="a-1"), WAIT_S)
    (word,) = [w for w in farm.words if w["ended"]]  # told once
    assert word["error"]
    assert word["running"] == ""


def test_an_executor_runs_and_is_ended_when_the_farm_says_so(farm, start):
    farm.answers.append(invitation(farm, setup="#!/bin/sh\nexec sleep 1000\n"))
    start()
    eventually(lambda: last(farm, running="a-1"), WAIT_S)
    farm.answers.append({"end": "a-1"})
    with farm.asked:
        farm.asked.notify_all()
    eventually(lambda: last(farm, ended="a-1", running=""), WAIT_S)


def test_who_needs_his_machine_gets_it_after_the_grace(farm, start, tmp_path):
    farm.answers.append(invitation(farm, setup="#!/bin/sh\nexec sleep 1000\n"))
    start("--hold-file", str(tmp_path / "hold"), "--grace", "0")
    eventually(lambda: last(farm, running="a-1"), WAIT_S)
    (tmp_path / "hold").touch()
    eventually(lambda: last(farm, ended="a-1", free=False), WAIT_S)
    assert "the hold file" in next(w["error"] for w in farm.words if w["ended"])


def test_what_it_started_goes_with_it(farm, start, tmp_path):
    mark = tmp_path / "pid"
    farm.answers.append(invitation(farm, setup=f"#!/bin/sh\necho $$ >{mark}\nexec sleep 1000\n"))
    one = start()
    eventually(lambda: mark.exists() and mark.read_text().strip(), WAIT_S)
    one.terminate()
    assert one.wait(WAIT_S) == 0
    eventually(lambda: not Path(f"/proc/{mark.read_text().strip()}").exists())


def test_a_farm_that_says_no_is_repeated_in_its_words(farm, start):
    farm.refuse = (403, {"error": {"what": "this ticket was used before", "where": "", "remedy": "make another"}})
    one = start()
    assert one.wait(WAIT_S) == 3
    assert "this ticket was used before; make another" in one.stderr.read()


def test_a_farm_that_is_away_is_waited_for(farm, start):
    farm.refuse = (503, {})
    one = start()
    assert "the farm answers 503; tried again" in one.stderr.readline()
    farm.refuse = None
    eventually(lambda: last(farm, free=True), WAIT_S)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--join", "http://farm.example.org"], "nothing is sent there in the clear"),
        (["--slots", "0"], "a machine has one at least"),
        (
            ["--ticket", "/nowhere/ticket"],
            "--ticket /nowhere/ticket: it can't be read: No such file or directory; name",
        ),
        (["--ticket", "/bin/true"], "this is no ticket of a farm: it is not text; make another: `farm token create"),
        (["--ca", "/nowhere/ca"], "--ca /nowhere/ca: it can't be read: No such file or directory; name the file"),
        (["--ca", "/bin/true"], "--ca /bin/true: that is no certificate in PEM"),
        (["--ca", "/dev/null"], "--ca /dev/null: that is no certificate in PEM"),
        (["--pool", ""], "--pool '': that is no name of a pool"),
        (["--pool", "a\nb"], "--pool 'a\\nb': that is no name of a pool"),
        (["--join", "https://x y:1"], "--join 'https://x y:1': that is no URL of a farm"),
    ],
)
def test_wrong_words_are_told(start, words, said):
    one = start(*words)
    assert one.wait(WAIT_S) == 2
    assert said in one.stderr.read()


def test_an_authority_is_kept_once_the_farm_has_proved_itself_by_it(farm, start, tmp_path):
    good, bad = Authority().pem, Authority().pem
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/ca.pem").write_text(good)
    (tmp_path / "given.pem").write_text(bad)
    farm.refuse = (403, {"error": {"what": "this ticket was used before", "where": "", "remedy": "make another"}})
    assert start("--ca", str(tmp_path / "given.pem")).wait(WAIT_S) == 3
    assert (tmp_path / "state/ca.pem").read_text() == good
    farm.refuse = None
    start("--ca", str(tmp_path / "given.pem"))
    eventually(lambda: last(farm, free=True), WAIT_S)
    assert (tmp_path / "state/ca.pem").read_text() == bad


def test_what_was_learned_by_a_given_authority_takes_its_place(tmp_path):
    """A unit names the same --ca for years, and the farm's authority changes meanwhile."""
    given, learned, other = Authority().pem, Authority().pem, Authority().pem
    first = Trust(tmp_path, given)
    assert Path(first.file).read_text() == given
    assert Path(Trust(tmp_path, given).file).read_text() == given  # nobody has proved anything yet
    assert first.proved()
    assert not first.proved()
    Path(first.file).write_text(learned)  # as `renew` does
    assert Path(Trust(tmp_path, given).file).read_text() == learned
    assert Path(Trust(tmp_path, None).file).read_text() == learned
    assert Path(Trust(tmp_path, other).file).read_text() == other


def test_a_lodger_is_found_again(tmp_path: Path):
    one = Lodger(tmp_path)
    one.start(Invitation("http://127.0.0.1:9", "", "f1", "desks", "a-1", 2, "s", 60, "plain"))
    again = Lodger(tmp_path)
    assert (again.running, again.slots) == ("a-1", 2)
    again.ask("it is wanted")
    assert again.wait(WAIT_S)
    assert again.ended() == ("a-1", "it is wanted")
    assert again.ended() == ("", "")
    assert Lodger(tmp_path).running == ""
    one.ended()


def test_one_that_begins_is_never_taken_for_one_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    began, go_on, found = threading.Event(), threading.Event(), []
    of = lodger.Process.of

    def slowly(pid: int) -> lodger.Process:
        began.set()
        assert go_on.wait(WAIT_S)
        return of(pid)

    monkeypatch.setattr(lodger.Process, "of", slowly)
    one = Lodger(tmp_path)
    invitation = Invitation("http://127.0.0.1:9", "", "f1", "desks", "a-1", 2, "s", 60, "plain")
    starting = threading.Thread(target=one.start, args=(invitation,))
    starting.start()
    assert began.wait(WAIT_S)
    looking = threading.Thread(target=lambda: found.append((one.running, one.ended())))
    looking.start()
    looking.join(0.2)  # it must wait, however long it is given
    go_on.set()
    starting.join(WAIT_S)
    looking.join(WAIT_S)
    one.kill()
    assert one.wait(WAIT_S)
    one.ended()
    assert found == [("a-1", ("", ""))]


def test_who_can_no_longer_look_ends_with_a_status_that_starts_it_again(farm, tmp_path, monkeypatch):
    monkeypatch.setattr(standby, "LOOK_S", 0.01)
    (tmp_path / "token").write_text("own")
    house = House()
    watch = standby.Watch(
        standby.Desk(Reach(farm.url, "", str(tmp_path / "token")), "desks"), house, Lodger(tmp_path), 1, 60
    )
    monkeypatch.setattr(House, "needed", lambda *_: 1 / 0)
    monkeypatch.setattr(standby.signal, "signal", lambda *_: None)
    with pytest.raises(standby.Unwelcome, match="ZeroDivisionError") as told:
        watch.keep()
    assert told.value.status == standby.NO_FARM


def test_it_is_light(farm, start):
    one = start()
    eventually(lambda: last(farm, free=True))
    pss = next(line for line in Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines() if "Pss:" in line)
    assert int(pss.split()[1]) <= 24 << 10  # 18 MiB alone on a machine, less beside others that share its Python


def test_no_core_of_it_holds_its_token(farm, start):
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # as where somebody wants all cores
    try:
        one = start()
        eventually(lambda: last(farm, free=True))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert re.search(r"Max core file size +0 ", Path(f"/proc/{one.pid}/limits").read_text())


def test_a_new_authority_is_learned_while_it_stands_by(farm, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(standby, "RENEW_S", -1.0)
    desk = standby.Desk(Reach(farm.url, "", str(tmp_path / "token")), "desks")
    (tmp_path / "token").write_text("own")
    monkeypatch.setattr(desk, "renew", lambda: asked.append("renew"))
    watch = standby.Watch(desk, House(), Lodger(tmp_path), 1, 60)
    assert watch._once(0)
    assert asked == ["renew"]


@pytest.mark.parametrize(("said", "waited"), [(5.0, 5.0), (60.0, 15.0)])
def test_a_farm_that_has_no_room_is_left_alone_for_as_long_as_it_says_but_not_until_it_forgets(
    tmp_path, monkeypatch, said, waited
):
    class Over(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return False

    def full(_word):
        raise standby.Silent("the farm answers 503", said)

    waits: list[float] = []
    desk = standby.Desk(Reach("http://127.0.0.1:9", "", str(tmp_path / "token")), "desks")
    monkeypatch.setattr(desk, "ask", full)
    watch = standby.Watch(desk, House(), Lodger(tmp_path), 1, 60)
    watch._over = Over()
    assert not watch._once(0.5)
    assert waits == [waited]
    assert standby.POLL_S + waited < HEARD_S
