"""Who leads and who stands by, in one database."""

import io
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, text

from farm import home_lock, lease
from farm.clock import SystemClock
from farm.config import BadConfig
from farm.context import new_term, open_farm
from farm.db import Database, Superseded
from farm.home import Home
from farm.lease import ENDED, LEADS, Lease, Member, Stillness
from farm.postgres import term
from farm.running import RunningService
from farm.supervisor import Supervisor


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").make()


def leads(db: Database, home: Home) -> tuple[Lease, threading.Event]:
    """One that has just begun to lead, and whether it was told that it has lost."""
    lost, me = threading.Event(), Member.here(home, SystemClock())
    with db.write() as tx:
        term = new_term(tx)
        lease.take(tx, me)
    db.term = term
    return Lease(db, SystemClock(), me, lost.set), lost


@pytest.fixture
def other(db: Database) -> Iterator[Database]:
    """The same database as another process reaches it."""
    with closing(Database.url(db.engine.url)) as made:
        yield made


def read(db: Database) -> Member:
    with db.read() as tx:
        found = lease.leader(tx)
    assert found is not None
    return found


def standing(db: Database, home: Home) -> Member:
    me = Member.here(home, SystemClock())
    with db.aside() as tx:
        lease.register(tx, me)
    return me


def test_a_lease_is_renewed_while_somebody_stands_by(db: Database, other: Database, home: Home) -> None:
    made, _ = leads(db, home)
    made.turn()
    quiet = read(other).beat
    assert (quiet == 0) == db.sqlite  # no disk is woken for nobody
    me = standing(other, home)
    made.turn()
    assert read(other).beat > quiet
    assert [one.id for one in made.standbys()] == [me.id]
    with other.aside() as tx:
        lease.leave(tx, me)
    made.turn()
    assert made.standbys() == []
    db.term = None


def test_a_lease_is_renewed_while_all_connections_are_taken(db: Database, other: Database, home: Home) -> None:
    """And who writes waits for one: the leader is busy, and not frozen."""
    made, _ = leads(db, home)
    standing(other, home)
    made.turn()
    before = read(other).beat

    def write() -> None:
        with db.write():
            pass

    writes = threading.Thread(target=write)
    with ExitStack() as taken:
        for _ in range(60 if db.sqlite else 30):
            taken.enter_context(db.engine.connect())
        writes.start()
        made.turn()
        assert read(other).beat > before
    writes.join(60)
    db.term = None


def test_one_that_says_nothing_any_more_is_forgotten(db: Database, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = leads(db, home)
    standing(db, home)
    made.turn()
    monkeypatch.setattr(lease, "GONE_S", 0)
    assert made.standbys() == []
    made.turn()
    monkeypatch.undo()
    made.turn()
    assert made.standbys() == []
    db.term = None


def test_a_leader_of_an_older_term_writes_nothing_and_hears_of_it(db: Database, other: Database, home: Home) -> None:
    made, lost = leads(db, home)
    standing(other, home)
    newer, _ = leads(other, home)
    with pytest.raises(Superseded):
        made.turn()
    with pytest.raises(Superseded), db.write() as tx:
        tx.execute(text("DELETE FROM meta"))
    with pytest.raises(Superseded):
        db.check_term()
    other.check_term()
    made.start()
    assert lost.wait(60)
    assert read(other).id == newer.leader().id
    db.term = None


def test_told_to_go_down_one_of_an_older_term_ends_no_executor(db: Database, other: Database, home: Home) -> None:
    """Whoever typed `farm down` meant the farm that has another leader by now, or does not wait any longer."""
    made, _ = leads(db, home)
    leads(other, home)
    service: Any = RunningService.__new__(RunningService)
    service.farm, service._lock, service._another = SimpleNamespace(lease=made), io.StringIO(), False
    service._ended, service._harder, service._stopping = threading.Event(), threading.Event(), threading.Lock()
    ends: list[bool] = []
    service._threads_end = list
    service._endings = lambda terminate: [lambda: ends.append(terminate)]
    service.stop(terminate=True)
    assert service._ended.is_set()
    assert ends == [False]
    assert service._another
    db.term = None


def test_whose_pools_can_not_be_made_leads_nobody(home: Home, tmp_path: Path) -> None:
    """To make them may also take long: from its term on it has to renew its lease."""
    home.config_file.write_text('[pools.odd]\nprovider = "nobody-knows"\n')
    home.make_run()
    home.socket.touch()
    with closing(open_farm(home)) as farm, open(tmp_path / "lock", "w") as lock, socket.socket() as listening:
        with pytest.raises(BadConfig):
            RunningService(farm, lock, listening, Supervisor(home, "local", "plain"))
        with farm.db.read() as tx:
            assert (term(tx), lease.leader(tx)) == (0, None)
    shutil.rmtree(home.run)


def test_who_begins_to_lead_knows_whose_money_is_spent_before_anything_is_handed_out(
    home: Home, tmp_path: Path
) -> None:
    """The wheel turns only once the providers are listed, and executors report before that."""
    home.config_file.write_text('[budgets.films]\namount = 0\nowner = "ada"\n[reserve]\nslots = 1\n')
    home.make_run()
    home.socket.touch()
    with closing(open_farm(home)) as farm, open(tmp_path / "lock", "w") as lock, socket.socket() as listening:
        service = RunningService(farm, lock, listening, Supervisor(home, "local", "plain"))
        allowed = service._dispatcher.allowed
        assert allowed is not None
        assert not allowed.pays("ada", "default")
        assert allowed.lanes == {"bulk"}
    shutil.rmtree(home.run)


def test_who_ends_late_leaves_the_socket_of_the_next_one_alone(home: Home) -> None:
    """In one home of one machine: the first was frozen, another machine led, and then this one again."""
    home.make_run()
    service: Any = RunningService.__new__(RunningService)
    service.farm = SimpleNamespace(home=home, listener=None)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(home.socket))
        service._door = os.stat(home.socket)
        assert not service._followed()
        home.socket.unlink()
        second.bind(str(home.socket))
        service._close_doors()
        assert service._followed()
        service._door = os.stat(home.socket)
        service._close_doors()
        assert not home.socket.exists()
    shutil.rmtree(home.run)


def test_its_end_is_written_down(db: Database, home: Home) -> None:
    made, _ = leads(db, home)
    made.start()
    assert read(db).state == LEADS
    made.tell(ENDED)
    assert read(db).state == ENDED
    made.close()
    db.term = None


def test_who_ends_the_farm_is_not_taken_for_frozen_meanwhile(db: Database, other: Database, home: Home) -> None:
    made, _ = leads(db, home)
    standing(other, home)
    made.start()
    made.tell(ENDED)
    said, pause, beats = read(other).beat, threading.Event(), 0
    while read(other).beat == said:
        assert (beats := beats + 1) < 1200, "it is renewed no more"
        pause.wait(0.05)
    assert read(other).state == ENDED
    made.close()
    db.term = None


def test_what_was_said_last_stands_there(db: Database, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat that waits for another writer does not overtake the word that the farm has ended."""
    made, _ = leads(db, home)
    entered, overtaken, aside = threading.Event(), threading.Event(), db.beside.aside

    @contextmanager
    def held_up() -> Iterator[Connection]:
        first = not entered.is_set()
        entered.set()
        if first:
            overtaken.wait(1)
        with aside() as tx:
            yield tx
        overtaken.set()

    monkeypatch.setattr(db.beside, "aside", held_up)
    beat = threading.Thread(target=made._renew)
    beat.start()
    assert entered.wait(60)
    made.tell(ENDED)
    beat.join(60)
    assert read(db).state == ENDED
    db.term = None


@pytest.mark.parametrize("row", ["", "[]", "{", json.dumps({"id": "x", "newer": 1})])
def test_a_row_of_another_version_is_nobody(row: str) -> None:
    assert Member.of(row) is None


def test_homes_of_one_farm_share_what_makes_it_one(home: Home, tmp_path: Path) -> None:
    twin = Home(Path(shutil.copytree(home.path, tmp_path / "twin")))
    assert lease.shared(twin) == lease.shared(home)
    assert lease.shared(Home(tmp_path / "stranger").make()) != lease.shared(home)


def test_standing_still_is_counted_from_the_last_change() -> None:
    now = [0.0]
    still = Stillness(lambda: now[0])
    said = []
    for value, at in (("a", 1.0), ("a", 4.0), ("b", 5.0), ("b", 7.0)):
        now[0] = at
        said.append(still.seconds(value))
    assert said == [0, 3, 0, 2]
    still.begin()
    assert still.seconds("b") == 0


def test_a_lock_is_one_holders_until_it_lets_go_or_is_fenced_off(home: Home) -> None:
    first = home_lock.taken(home)
    assert first is not None
    home_lock.sign(first)
    assert home_lock.holder(home) > 0
    assert home_lock.taken(home) is None
    seized = home_lock.seized(home)
    assert home_lock.taken(home) is None
    first.close()
    assert home_lock.taken(home) is None  # that of before is no lock any more
    seized.close()
    again = home_lock.taken(home)
    assert again is not None
    again.close()
