"""Who needs an owned machine: a hold file, work of its owners, a person at the keyboard."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from executors.site import logins
from executors.site.logins import Logins
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
        given = {"idle_s": 600, "utmp": str(tmp_path / "utmp"), "devices": str(tmp_path)}
        given |= {"logins": Logins(str(tmp_path / "sessions"), str(tmp_path / "loginctl"))} | more
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


@pytest.fixture
def logind(tmp_path: Path):
    """The books of systemd-logind: a file for each session, and a program that says which are idle."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    os.mkfifo(folder / "1.ref")  # as it keeps beside them

    def logged_in(number: str, user: str, **facts: str) -> None:
        about = {
            "UID": "1000",
            "USER": user,
            "ACTIVE": "1",
            "STATE": "active",
            "CLASS": "user",
            "TYPE": "wayland",
            **facts,
        }
        (folder / number).write_text("# private\n" + "".join(f"{name}={value}\n" for name, value in about.items()))

    def says(*blocks: str) -> None:
        text = "\n\n".join(block.replace(" ", "\n") for block in blocks)
        (tmp_path / "loginctl").write_text(f"#!/bin/sh\necho asked \"$@\" >> {tmp_path}/asked\ncat <<'E'\n{text}\nE\n")
        (tmp_path / "loginctl").chmod(0o755)

    return SimpleNamespace(logged_in=logged_in, says=says, asked=tmp_path / "asked")


def idle(number: str, seconds: float) -> str:
    return f"Id={number} IdleHint=yes IdleSinceHint={int((time.time() - seconds) * 1e6)}"


def test_who_is_at_a_desktop_is(house, logind):
    logind.logged_in("2", "ada", TTY="tty2")
    logind.says("Id=2 IdleHint=no IdleSinceHint=0")
    (tty,) = [Path(house().devices) / "tty2"]
    tty.touch()
    os.utime(tty, (1, 1))  # a desktop's keys touch no terminal
    assert house(session("ada", "tty2")).needed(0) == "ada is at the machine"


def test_whose_desktop_has_been_idle_for_long_is_not(house, logind):
    logind.logged_in("2", "ada", TTY="tty2", DISPLAY=":0")
    logind.logged_in("3", "bob", STATE="online")
    logind.says(idle("2", 3000), idle("3", 700))
    assert house(session("ada", ":0")).needed(0) == ""
    logind.says(idle("2", 3000), idle("3", 5))
    assert house(session("ada", ":0")).needed(0) == "bob is at the machine"


def test_a_desktop_of_which_nobody_can_tell_counts(house, logind):
    logind.logged_in("2", "ada")
    assert house().needed(0) == "ada is at the machine"  # there is no such program
    logind.says("Id=2 IdleHint=yes IdleSinceHint=n/a")
    assert house().needed(0) == "ada is at the machine"


def test_terminals_that_only_logind_knows_are_looked_at(house, logind):
    logind.logged_in("4", "eva", TYPE="tty", TTY="pts/0", REMOTE="1")
    assert house(touched_s_ago=5).needed(0) == "eva is at the machine"
    assert house(touched_s_ago=700).needed(0) == ""


def test_what_is_no_person_does_not_count(house, logind):
    logind.logged_in("c1", "gdm", CLASS="greeter")
    logind.logged_in("5", "ada", STATE="closing")
    logind.logged_in("6", "ada", CLASS="manager", TYPE="unspecified")
    logind.logged_in("7", "backup", TYPE="tty", REMOTE="1")  # nobody types there
    assert house().needed(0) == ""
    assert not logind.asked.exists()


def test_the_program_is_not_asked_every_two_seconds(house, logind, monkeypatch):
    monkeypatch.setattr(logins, "ASK_S", 3600)
    logind.logged_in("2", "ada")
    logind.says(idle("2", 700))
    one = house()
    assert [one.needed(0) for _ in range(3)] == ["", "", ""]
    assert logind.asked.read_text() == "asked show-session -p Id -p IdleHint -p IdleSinceHint 2\n"


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
