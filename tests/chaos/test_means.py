"""The means by which the campaign hurts a database do what they say."""

import contextlib
import os
import random
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from farm import postgres as pg
from farm.db import Database
from tests.chaos.base import Base
from tests.chaos.campaign import _called
from tests.chaos.disk import Disk, may_mount
from tests.chaos.line import Line
from tests.chaos.server import Server
from tests.chaos.server_faults import ITSELF, LINE, SESSIONS, full, makers, power
from tests.chaos.work import Work
from tests.postgres import USER, Postgres, tell


class Echo:
    """A server that says back what it hears."""

    def __init__(self, place: Path) -> None:
        self.place, self.heard = place, list[bytes]()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(place))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            one, _ = self._listening.accept()
            threading.Thread(target=self._echo, args=(one,), daemon=True).start()

    def _echo(self, one: socket.socket) -> None:
        while data := one.recv(100):
            self.heard.append(data)
            one.sendall(data)


@pytest.fixture
def echo(tmp_path: Path) -> Echo:
    return Echo(tmp_path / "s")


@pytest.fixture
def line(echo: Echo) -> Iterator[Line]:
    made = Line(echo.place)
    yield made
    made.close()


def dial(line: Line) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", line.port), 30)
    made.settimeout(30)
    return made


def ask(one: socket.socket, words: bytes) -> bytes:
    """b"" when it was cut."""
    try:
        one.sendall(words)
        return one.recv(100)
    except ConnectionError:
        return b""


def test_a_line_passes_on_what_is_said_until_it_is_cut(line: Line) -> None:
    with closing(dial(line)) as one:
        assert ask(one, b"hello") == b"hello"
        line.cut()
        assert ask(one, b"hello") == b""
    with closing(dial(line)) as one:
        assert ask(one, b"hello") == b"hello"


def test_a_line_that_refuses_lets_nobody_through_before_it_is_healed(line: Line) -> None:
    line.refuse()
    with contextlib.suppress(OSError), closing(dial(line)) as one:  # it may be thrown out before it has dialled
        assert ask(one, b"hello") == b""
    line.heal()
    with closing(dial(line)) as one:
        assert ask(one, b"hello") == b"hello"


def test_what_a_line_holds_back_arrives_later(line: Line, echo: Echo) -> None:
    with closing(dial(line)) as one:
        assert ask(one, b"first") == b"first"
        line.hold()
        one.sendall(b"second")
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(100)
        assert echo.heard == [b"first"]
        line.heal()
        one.settimeout(30)
        assert one.recv(100) == b"second"


def test_a_commit_whose_answer_is_swallowed_has_arrived(line: Line, echo: Echo) -> None:
    line.swallow(1)
    with closing(dial(line)) as one, closing(dial(line)) as other:
        assert ask(one, b"INSERT") == b"INSERT"
        assert ask(one, b"COMMIT") == b""
        assert ask(other, b"COMMIT") == b"COMMIT"
    assert echo.heard == [b"INSERT", b"COMMIT", b"COMMIT"]
    assert line.heal() == 0


def test_a_swallowed_commit_of_a_real_server_counts(postgres: Postgres) -> None:
    line, database = Line(postgres.folder / ".s.PGSQL.5432"), postgres.bare()
    url = f"postgresql://{USER}@127.0.0.1:{line.port}/{database}"
    with closing(Database.url(url)) as db:
        with db.write() as tx:
            tx.exec_driver_sql("CREATE TABLE x (a int)")
        line.swallow(1)
        with pytest.raises(DBAPIError), db.write() as tx:
            tx.exec_driver_sql("INSERT INTO x VALUES (7)")
        with db.read() as tx:
            assert tx.exec_driver_sql("SELECT a FROM x").scalars().all() == [7]
    line.close()


def _ask(db: Database, first: Callable[[], None] = lambda: None) -> None:
    with db.read() as tx:
        first()
        tx.exec_driver_sql("SELECT 1")


def test_a_line_that_fails_is_told_as_what_passes(postgres: Postgres) -> None:
    """Also when who answers first is no server, but what stands before it."""
    line = Line(postgres.folder / ".s.PGSQL.5432")
    with closing(Database.url(f"postgresql://{USER}@127.0.0.1:{line.port}/{postgres.bare()}")) as db:
        line.refuse()
        with pytest.raises(DBAPIError) as refused:
            _ask(db)
        line.heal()
        with pytest.raises(DBAPIError) as cut:
            _ask(db, line.cut)
    assert [pg.returns(error.value) for error in (refused, cut)] == [True, True]
    assert [pg.said(error.value).startswith("the ") for error in (refused, cut)] == [True, True]
    line.close()


if may_mount():

    @pytest.fixture
    def disk(tmp_path: Path) -> Iterator[Disk]:
        made = Disk(tmp_path / "disk.ext4", tmp_path / "place", 16 << 20)
        yield made
        made.clear()

    def test_a_disk_that_loses_its_power_keeps_what_was_synced_and_nothing_else(disk: Disk) -> None:
        kept, lost = disk.place / "kept", disk.place / "lost"
        with kept.open("wb") as file:
            file.write(b"on the disk")
            file.flush()
            os.fsync(file.fileno())
        lost.write_bytes(b"in memory")
        disk.lose_power()
        with pytest.raises(OSError, match="error"):
            lost.write_bytes(b"too late")
        disk.again()
        assert kept.read_bytes() == b"on the disk"
        assert not lost.exists() or lost.read_bytes() == b""

    def test_what_the_farm_has_committed_outlives_a_loss_of_power_and_what_is_not_synced_does_not(disk: Disk) -> None:
        ours, careless = Database.file(disk.place / "ours.db"), sqlite3.connect(disk.place / "careless.db")
        for number in range(20):
            with ours.write() as tx:
                tx.exec_driver_sql("CREATE TABLE IF NOT EXISTS x (a)")
                tx.exec_driver_sql(f"INSERT INTO x VALUES ({number})")
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "CREATE TABLE x (a)"):
            careless.execute(statement)
        with careless:
            careless.execute("INSERT INTO x VALUES (1)")
        disk.lose_power()
        ours.close()
        careless.close()
        disk.again()
        assert _rows(disk.place / "ours.db") == list(range(20))
        assert _rows(disk.place / "careless.db") == []


def _rows(file: Path) -> list[int]:
    """None where there is no table, or no database."""
    try:
        with closing(sqlite3.connect(file)) as db:
            return [row[0] for row in db.execute("SELECT a FROM x")]
    except sqlite3.Error:
        return []


def test_a_server_that_has_ended_is_started_and_one_that_starts_anew_is_waited_for() -> None:
    server = Server(random.Random(1))
    server.ground, server.lined = "memory", False
    try:
        server.start()
        assert server.postgres is not None
        tell(server.postgres.children()[0], signal.SIGKILL)
        server.revive()
        server.postgres.stop(signal.SIGQUIT)
        assert not _answers(server)
        server.revive()
        assert _answers(server)
    finally:
        server.clear()
    assert not server.postgres.folder.exists()


def _answers(server: Server) -> bool:
    assert server.postgres is not None
    try:
        return server.postgres.sql("SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def test_each_kind_of_server_has_its_own_faults() -> None:
    chosen = [Server(random.Random(seed)) for seed in range(40)]
    assert {server.lined for server in chosen} == {True, False}
    for server in chosen:
        found = makers(server)
        assert set(found) >= {*SESSIONS, *ITSELF}
        assert (set(LINE) <= set(found)) == server.lined
        assert ((full in found), (power in found)) == (server.ground == "small disk", server.ground == "own disk")


def test_the_same_seed_chooses_the_same() -> None:
    for made in (Base(), Server(random.Random(3))):
        first, again = ([name for name, _ in made.faults(random.Random(5))] for _ in range(2))
        assert first == again
        assert len(first) == made.FAULTS


def test_what_was_acknowledged_and_is_not_there_is_told(tmp_path: Path) -> None:
    work = Work(tmp_path, 1, acknowledged={"call-0": 7, "call-1": 8}, refused=["call-2"])
    assert list(_called(work, [("call-0", 7), ("call-1", 8), ("call-2", 9), ("main", 1)])) == []
    assert list(_called(work, [("call-0", 7)])) == ["job 8, call-1, was acknowledged and is lost"]
    twice = [("call-0", 7), ("call-1", 8), ("call-2", 9), ("call-2", 10)]
    assert list(_called(work, twice)) == ["call-2 was submitted once and is there 2 times"]
    work.wrong.append("a submit was answered 500")
    assert list(_called(work, twice[:2])) == ["a submit was answered 500"]
