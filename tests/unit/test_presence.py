"""Who needs an owned machine: a hold file, work of its owners, a person at the keyboard."""

import os
import time
from pathlib import Path

import pytest

from executors.site.presence import USER_PROCESS, UTMP, House


def session(user: str, line: str, kind: int = USER_PROCESS, pid: int = 1234) -> bytes:
    fields = (kind, pid, line.encode(), b"", user.encode(), b"", 0, 0, 0, 0, 0, *([0] * 4), b"")
    return UTMP.pack(*fields)


@pytest.fixture
def house(tmp_path: Path):
    def made(*sessions: bytes, touched_s_ago: float = 0, **more) -> House:
        (tmp_path / "utmp").write_bytes(b"".join(sessions))
        (tmp_path / "pts").mkdir(exist_ok=True)
        for name in ("0", "1"):
            (tmp_path / "pts" / name).touch()
            at = time.time() - touched_s_ago
            os.utime(tmp_path / "pts" / name, (at, time.time()))
        given = {"idle_s": 600, "utmp": str(tmp_path / "utmp"), "devices": str(tmp_path)} | more
        return House(**given)

    return made


def test_nobody_is_there(house):
    assert house().needed(0) == ""
    assert House(idle_s=600, utmp="/nowhere/utmp").needed(0) == ""


def test_who_has_just_touched_the_keyboard_is(house):
    assert house(session("ada", "pts/0"), touched_s_ago=5).needed(0) == "ada is at the machine"


def test_who_went_home_without_logging_out_is_not(house):
    assert house(session("ada", "pts/0"), touched_s_ago=700).needed(0) == ""


def test_a_session_that_nobody_can_look_at_counts(house):
    assert house(session("ada", ":0")).needed(0) == "ada is at the machine"


def test_sessions_that_have_ended_do_not_count(house):
    assert house(session("ada", "pts/0", kind=8), session("", "pts/1", pid=0)).needed(0) == ""


def test_a_torn_file_is_read_as_far_as_it_goes(house):
    assert house(session("ada", "pts/0"), b"xyz").needed(0) == "ada is at the machine"


def test_where_persons_do_not_matter_nobody_looks(house):
    assert house(session("ada", "pts/0"), idle_s=None).needed(0) == ""


def test_a_hold_file_says_so(tmp_path: Path, house):
    hold = tmp_path / "hold"
    assert house(hold=str(hold)).needed(0) == ""
    hold.touch()
    assert house(hold=str(hold)).needed(0) == f"the hold file {hold} is there"


def test_load_counts_without_our_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (5.5, 0, 0))
    assert House(max_load=2).needed(0) == "it has work of its own (load 5.5, more than 2)"
    assert House(max_load=2).needed(4) == ""
    assert House().needed(0) == ""
