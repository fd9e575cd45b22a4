"""Whom one that stands by ends, and what a leader of the past does no more."""

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import update

from executors.contract import Order
from executors.site.proc import cpu_s
from executors.site.process import Process
from farm import home_lock, lease, reconcile, succession
from farm import tables as t
from farm.clock import ServerClock, SystemClock
from farm.context import Farm, new_term
from farm.db import Database, Superseded
from farm.home import Home
from farm.lease import Member
from farm.succession import Successor

SOON_S = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home").make()
    made.make_run()
    yield made
    shutil.rmtree(made.run)


@pytest.fixture
def victim() -> Iterator[Process]:
    process = subprocess.Popen(["sleep", "600"])
    yield Process.of(process.pid)
    process.kill()
    process.wait(SOON_S)


@contextmanager
def answering(home: Home) -> Iterator[None]:
    """Somebody is alive behind the socket of this home."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home.socket))
        listening.listen(8)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
    home.socket.unlink()


def watching(home: Home, db: Database, leader: Process, monkeypatch: pytest.MonkeyPatch) -> Successor:
    """One that stands by for a leader whose lease has stood still for long enough."""
    monkeypatch.setattr(succession, "STILL_S", 0)
    farm = cast(Farm, SimpleNamespace(home=home, db=db, clock=SystemClock()))
    made = Successor(farm, threading.Event())
    here = Member.here(home, SystemClock())
    made._leader, made._standing = replace(here, pid=leader.pid, started=leader.started), True
    home.lock.write_text(str(leader.pid))
    return made


def test_only_who_does_not_answer_is_ended(
    home: Home, db: Database, victim: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    successor = watching(home, db, victim, monkeypatch)
    held = home_lock.taken(home)
    assert held is not None
    with held:
        with answering(home):
            assert successor._turn() is None
            assert victim.alive()
        assert successor._turn() is None
        assert victim.wait(SOON_S)


def test_who_can_not_answer_for_all_its_work_has_longer(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the interpreter, say, for one long step: it neither renews its lease nor answers, and is not frozen."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        successor = watching(home, db, Process.of(busy.pid), monkeypatch)
        begun = cpu_s(busy.pid)

        def mute() -> bool:
            while cpu_s(busy.pid) < begun + 0.5:
                successor._told.wait(0.05)
            return False

        monkeypatch.setattr(successor, "_answers", mute)
        monkeypatch.setattr(succession, "WORKS", 0.001)  # others may keep the processors busy, too
        held = home_lock.taken(home)
        assert held is not None
        with held:
            assert successor._turn() is None
            assert busy.poll() is None
            monkeypatch.setattr(succession, "LONGEST_S", -1)
            assert successor._turn() is None
        assert busy.wait(SOON_S)
    finally:
        busy.kill()
        busy.wait(SOON_S)


@pytest.mark.parametrize("change", [{"started": 1}, {"host": "another"}, {"home": "/another"}])
def test_no_other_process_is_hit(
    home: Home, db: Database, victim: Process, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """One that has got the number of a leader that is gone, or one of another machine."""
    successor = watching(home, db, victim, monkeypatch)
    assert successor._leader is not None
    successor._leader = replace(successor._leader, **change)
    successor._suspect_here()
    assert victim.alive()


def test_who_has_just_taken_the_database_is_not_taken_for_the_one_before(home: Home, db: Database) -> None:
    """Of several that stand by one is first; to the others the frozen one leads until that one says that it does."""
    made = Successor(cast(Farm, SimpleNamespace(home=home, db=db, clock=SystemClock())), threading.Event())
    made._leader, made._standing, made._served = Member.here(home, SystemClock()), True, 11
    assert not made._stands_still()
    made._still._since -= 60
    assert made._stands_still()
    made._served = 12
    assert not made._stands_still()


def test_one_that_stood_still_itself_takes_nobody_for_frozen(home: Home, db: Database) -> None:
    """Both were frozen, or the database was: the leader has had no time yet to renew its lease."""
    made = Successor(cast(Farm, SimpleNamespace(home=home, db=db, clock=SystemClock())), threading.Event())
    with db.write() as tx:
        lease.take(tx, Member.here(home, SystemClock()))
    made._standing = True
    made._look()
    assert not made._stands_still()
    made._still._since -= 60
    made._look()
    assert made._stands_still()
    made._looked -= 60
    made._look()
    assert not made._stands_still()


def test_an_older_farm_that_renews_no_lease_is_not_taken_for_frozen(home: Home, db: Database) -> None:
    """The row is that of a leader of the past, from before somebody went back to the version before."""
    made = Successor(cast(Farm, SimpleNamespace(home=home, db=db, clock=SystemClock())), threading.Event())
    with db.write() as tx:
        new_term(tx)
        lease.take(tx, Member.here(home, SystemClock()))
    made._standing = True

    def frozen() -> bool:
        made._look()
        made._stands_still()  # what it saw then is what it is compared with
        made._still._since -= 60
        return made._stands_still()

    assert frozen()
    with db.write() as tx:
        new_term(tx)
    assert not frozen()
    with db.write() as tx:  # one that has leases, and does not say of which term they are
        tx.execute(update(t.Meta).where(t.Meta.key == "leader").values(value=Member.here(home, SystemClock()).text()))
    assert frozen()


def test_who_stands_by_in_a_home_of_its_own_keeps_nobody_from_it(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Successor(cast(Farm, SimpleNamespace(home=home, db=db, clock=SystemClock())), threading.Event())
    made._leader = replace(Member.here(home, SystemClock()), home="/another")
    made._served, made._standing, made._db = 11, True, cast(Database, SimpleNamespace(sqlite=False))
    monkeypatch.setattr(home_lock, "taken", lambda _home: pytest.fail("it was taken for a moment"))
    assert made._turn() is None


def test_who_leads_after_days_of_standing_by_has_asked_for_the_time(home: Home, db: Database) -> None:
    asked: list[int] = []

    def ask() -> datetime:
        asked.append(1)
        return datetime(2026, 1, 1, tzinfo=UTC)

    clock = ServerClock(ask)
    made = Successor(cast(Farm, SimpleNamespace(home=home, db=db, clock=clock)), threading.Event())
    made._tell_the_time()
    assert len(asked) == 2


class Recorder:
    """A provider that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def launch(self, order: object) -> None:
        self.asked.append(order)

    def terminate(self, ids: object) -> None:
        self.asked.append(ids)


def test_nothing_is_ordered_or_ended_once_another_one_leads(db: Database) -> None:
    with db.write() as tx:
        term = new_term(tx)
    with db.write() as tx:
        new_term(tx)
    db.term, provider = term, Recorder()
    wheel: Any = SimpleNamespace(db=db, providers={"p": provider})
    with pytest.raises(Superseded):
        reconcile._place(wheel, SimpleNamespace(pool="p", token="t"), Order("t", "p", 1, 1, 1))
    with pytest.raises(Superseded):
        reconcile._terminate(wheel, "p", ["t-1"])
    assert provider.asked == []
    db.term = None
