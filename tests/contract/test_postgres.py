"""What PostgreSQL can do to a farm: each of it told in a sentence with its remedy, and over when it is over."""

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from farm import db as databases
from farm import postgres as pg
from farm import tables as t
from farm.clock import SystemClock
from farm.config import FarmConfig
from farm.context import new_term
from farm.db import BadDatabase, Database, Superseded, explained, migrate, revision
from farm.home import Taken
from farm.integrity import look
from farm.model import Range, StepSpec
from farm.queue.claim import Claim
from farm.queue.room import Room
from farm.server_health import health
from farm.watch import Watch
from tests.contract.queue_farm import LANES, QueueFarm, made
from tests.postgres import USER, Postgres

SOON_S = 60
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'farm service%'"


@pytest.fixture
def name(postgres: Postgres, reused: str) -> str:
    return postgres.emptied(reused)


@pytest.fixture
def db(postgres: Postgres, name: str) -> Iterator[Database]:
    with closing(Database.url(postgres.url(name))) as made:
        yield made


@pytest.fixture
def other(postgres: Postgres, name: str) -> Iterator[Any]:
    """Another program, at the same database."""
    with psycopg.connect(postgres.dsn(name)) as connection:
        yield connection


@pytest.fixture(scope="module")
def mortal() -> Iterator[Postgres]:
    """A durable server that the tests may stop, kill and fill."""
    server = Postgres("shared_buffers=16MB")
    server.start()
    server.fresh()
    yield server
    server.remove()


def array(last: int) -> StepSpec:
    return StepSpec(argv=("x", "{index}"), array=Range(first=1, last=last))


@contextmanager
def told(words: str) -> Iterator[None]:
    """It can't be used now, and that is said so."""
    with pytest.raises(BadDatabase) as refusal, explained("here"):
        yield
    assert words in refusal.value.what
    assert refusal.value.remedy


def sums(db: Database) -> int:
    with db.read() as tx:
        return len(tx.execute(select(t.Job.id)).all())


# ── several who write ──


def test_one_writes_at_a_time_whatever_the_process(db: Database, postgres: Postgres, name: str) -> None:
    inside, go, order = threading.Event(), threading.Event(), []

    def second() -> None:
        with closing(Database.url(postgres.url(name))) as mine:
            inside.wait(SOON_S)
            go.set()
            with mine.write():
                order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with db.write() as tx:
        tx.execute(text("SELECT 1"))
        inside.set()
        go.wait(SOON_S)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"
        pause = threading.Event()
        while postgres.sql(waits) == [(0,)]:
            pause.wait(0.02)
        order.append("first")
    thread.join(SOON_S)
    assert order == ["first", "second"]


def test_no_statement_is_compiled(db: Database) -> None:
    """Claims took a second each: on tables that are not analysed yet PostgreSQL takes their plans for costly ones."""
    costly = "SET LOCAL jit_above_cost = 0", "SELECT count(*) FROM task"
    with db.write() as tx:
        tx.exec_driver_sql(costly[0])
        plan = [row[0] for row in tx.exec_driver_sql(f"EXPLAIN (ANALYZE) {costly[1]}")]
    assert plan
    assert not [line for line in plan if "JIT" in line]


def test_a_reader_sees_one_moment_and_holds_up_nobody(db: Database) -> None:
    farm = QueueFarm(db)
    farm.submit(array(1))
    with db.read() as tx:
        before = tx.execute(select(t.Job.id)).all()
        farm.submit(array(1))
        assert tx.execute(select(t.Job.id)).all() == before
        with pytest.raises(DBAPIError, match="read-only"):
            tx.execute(text("DELETE FROM job"))
    assert sums(db) == 2


def test_claims_pass_over_what_another_program_has_locked(db: Database, other: Any) -> None:
    farm = QueueFarm(db)
    first, second = farm.submit(array(2)), farm.submit(array(2))
    other.execute("SELECT 1 FROM step WHERE job = %s FOR UPDATE", (first,))
    assert [work.attempt for work in farm.claim(4)] == [f"{second}.1.1", f"{second}.2.1"]
    other.rollback()
    assert [work.attempt for work in farm.claim(4)] == [f"{first}.1.1", f"{first}.2.1"]


def test_single_tasks_that_are_locked_are_passed_over_too(db: Database, other: Any) -> None:
    farm = QueueFarm(db)
    items = [{"name": name, "argv": ["x"]} for name in ("a", "b", "c")]
    job = farm.submit(StepSpec.model_validate({"items": items}))
    other.execute("SELECT 1 FROM task WHERE job = %s AND number = 2 FOR UPDATE", (job,))
    assert sorted(work.attempt for work in farm.claim(4)) == [f"{job}.1.1", f"{job}.3.1"]
    other.rollback()
    assert [work.attempt for work in farm.claim(4)] == [f"{job}.2.1"]


def test_a_claim_locks_little_beyond_what_it_takes_although_there_are_licences(db: Database, other: Any) -> None:
    farm = QueueFarm(db)
    for _ in range(120):
        farm.submit(array(1))
    known = FarmConfig.model_validate({"licences": {"maya": {"count": 3}}}).all_licences()
    with db.write() as tx:
        assert Claim(tx, LANES, 1, farm.clock.now(), {}, known).fill([Room("e1", 1, 0)], {})
        free = other.execute("SELECT job FROM step FOR UPDATE SKIP LOCKED").fetchall()
    assert len(free) > 40


def test_rows_that_somebody_holds_locked_are_told_after_a_while(
    postgres: Postgres, name: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "PATIENCE_S", 0.3)
    with closing(Database.url(postgres.url(name))) as db:
        QueueFarm(db).submit(array(1))
        other.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
        with told("another session holds rows or tables of the farm locked"):
            QueueFarm(db).submit(array(1))
        other.rollback()
        QueueFarm(db).submit(array(1))
        assert sums(db) == 2


def _cross(db: Database, other: threading.Thread) -> None:
    with db.write() as tx:
        tx.execute(text("LOCK TABLE job IN ACCESS EXCLUSIVE MODE"))
        other.start()
        tx.execute(text("SELECT * FROM attempt")).all()


def test_a_deadlock_is_known_as_what_may_be_tried_again(db: Database, other: Any) -> None:
    """The other program waits for us and we for it; the server lets one of the two down."""
    farm = QueueFarm(db)
    farm.submit(array(1))
    other.execute("SET deadlock_timeout = '1h'")
    other.execute("LOCK TABLE attempt IN ACCESS EXCLUSIVE MODE")
    waits = threading.Thread(target=other.execute, args=("SELECT * FROM job",))
    with pytest.raises(DBAPIError) as error:
        _cross(db, waits)
    assert pg.passing(error.value)
    assert pg.returns(error.value)
    waits.join(SOON_S)
    other.rollback()
    assert len(farm.claim(1)) == 1


# ── one service ──


def test_a_second_service_is_refused_by_name_until_the_first_has_gone(db: Database) -> None:
    first, second = Watch(db), Watch(db)
    first.start()
    with pytest.raises(Taken, match=r"farm service \d+ on .* works on this database already"):
        second.start()
    first.stop()
    third = Watch(db)
    third.start()
    third.stop()


def test_a_service_that_was_superseded_writes_nothing_more(postgres: Postgres, name: str, db: Database) -> None:
    with db.write() as tx:
        db_term = new_term(tx)
    db.term = db_term
    QueueFarm(db).submit(array(1))
    with closing(Database.url(postgres.url(name))) as newer, newer.write() as tx:
        new_term(tx)
    with pytest.raises(Superseded, match="another service runs on this database by now"):
        QueueFarm(db).submit(array(1))
    assert sums(db) == 1


def test_who_writes_elsewhere_wakes_the_service(postgres: Postgres, name: str, db: Database) -> None:
    woken = threading.Event()
    watch = Watch(db)
    watch.woken = woken.set
    watch.start()
    with closing(Database.url(postgres.url(name))) as elsewhere:
        QueueFarm(elsewhere).submit(array(1))
    assert woken.wait(SOON_S)
    woken.clear()
    # The connection is cut: the watch comes back, looks at once, and hears again.
    assert postgres.sql(CUT, name) == [(True,)]
    assert woken.wait(SOON_S)
    woken.clear()
    with closing(Database.url(postgres.url(name))) as elsewhere:
        QueueFarm(elsewhere).submit(array(1))
    assert woken.wait(SOON_S)
    watch.stop()


def test_a_watch_that_finds_another_service_when_it_comes_back_ends(
    postgres: Postgres, name: str, db: Database
) -> None:
    lost = threading.Event()
    watch = Watch(db)
    watch.lost = lost.set
    watch.start()
    with psycopg.connect(postgres.dsn(name), autocommit=True) as usurper:
        usurper.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'farm service%'"
        )
        usurper.execute("SELECT pg_advisory_lock(1717662317, 2)")
        assert lost.wait(SOON_S)
        with pytest.raises(Taken):  # one that is only about to lead takes no term
            watch.start()
    watch.stop()


# ── the server ──


def test_a_killed_server_loses_nothing_and_its_farm_goes_on(mortal: Postgres) -> None:
    with closing(Database.url(mortal.url(mortal.fresh()))) as db:
        farm = QueueFarm(db)
        job = farm.submit(array(40))
        done = 0
        for _ in range(3):
            farm.finish(farm.claim(5))
            done += 5
            mortal.stop(signal.SIGKILL)
            with told("the database server can't be reached"):
                farm.claim(1)
            mortal.start()
            assert farm.counts(job)["done"] == done
        farm.run(job)
        assert farm.state(job) == "done"


def test_a_restart_cuts_a_change_in_the_middle_and_undoes_it(mortal: Postgres) -> None:
    with closing(Database.url(mortal.url(mortal.fresh()))) as db:
        farm = QueueFarm(db)
        with told("the database server is shutting down"), db.write() as tx:
            tx.execute(text("INSERT INTO meta (key, value) VALUES ('half', '1')"))
            mortal.stop()
            mortal.start()
            tx.execute(text("INSERT INTO meta (key, value) VALUES ('other half', '1')"))
        with db.read() as tx:
            assert tx.execute(text("SELECT count(*) FROM meta WHERE key LIKE '%half'")).scalar_one() == 0
        assert farm.submit(array(1)) == 1


def test_a_server_that_takes_no_changes_is_told_and_left_for_the_primary(mortal: Postgres) -> None:
    name = mortal.fresh()
    with closing(Database.url(mortal.url(name))) as db:
        QueueFarm(db).submit(array(1))
        mortal.stop()
        mortal.start("default_transaction_read_only=on")
        with told("takes no changes"):
            QueueFarm(db).submit(array(1))
        assert sums(db) == 1
        with db.read() as tx:
            assert "takes no changes" in health(tx, SystemClock()).what
        mortal.stop()
        mortal.start()
        assert QueueFarm(db).submit(array(1)) > 1


def _all_connections(server: Postgres, name: str) -> list[Any]:
    found: list[Any] = []
    with suppress(psycopg.OperationalError):
        while len(found) < 10:
            found.append(psycopg.connect(server.dsn(name)))
    assert len(found) < 10
    return found


def test_no_connection_left_is_told_and_passes(mortal: Postgres) -> None:
    name = mortal.fresh()
    mortal.stop()
    mortal.start("max_connections=4", "superuser_reserved_connections=0", "max_wal_senders=0", "autovacuum=off")
    with closing(Database.url(mortal.url(name))) as db:
        others = _all_connections(mortal, name)
        with told("no connection left"):
            QueueFarm(db).submit(array(1))
        for one in others:
            one.close()
        pause = threading.Event()
        while mortal.sql("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL") != [(1,)]:
            pause.wait(0.05)
        assert QueueFarm(db).submit(array(1)) == 1
    mortal.stop()
    mortal.start()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://farm@/nowhere?host={folder}", "there is no such database"),
        ("postgresql://stranger@/postgres?host={folder}", "does not let the farm in"),
        ("postgresql://farm@/postgres?host=/nowhere", "can't be reached"),
        ("postgresql://farm@127.0.0.1:9/farm", "can't be reached"),
    ],
)
def test_what_can_not_be_opened_is_told(postgres: Postgres, url: str, words: str) -> None:
    with closing(Database.url(url.format(folder=postgres.folder))) as db, told(words):
        migrate(db, "here")


def test_a_server_that_is_unfit_is_told(postgres: Postgres, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.sql(f"CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER {USER}")
    with closing(Database.url(postgres.url("latin"))) as latin, pytest.raises(BadDatabase, match="holds LATIN1"):
        migrate(latin, "here")
    monkeypatch.setattr(pg, "OLDEST", 99)
    with pytest.raises(BadDatabase, match=r"PostgreSQL \d+ is too old; use version 99"):
        migrate(db, "here")


def test_a_server_that_forgets_is_warned_of(db: Database, mortal: Postgres) -> None:
    """The one of the tests is fast and not durable, the mortal one as servers are."""
    with db.read() as tx:
        assert "forgets what it acknowledged" in health(tx, SystemClock()).what
    with closing(Database.url(mortal.url(mortal.fresh()))) as durable, durable.read() as tx:
        assert health(tx, SystemClock()).remedy == ""


def test_a_look_at_many_files_may_take_longer_than_a_change(
    postgres: Postgres, name: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = QueueFarm(db)
    farm.submit(StepSpec(argv=("x",), outputs=("a",)))
    farm.finish(farm.claim(1), outputs=(made("a"),))
    monkeypatch.setitem(pg._SETTINGS, "idle_in_transaction_session_timeout", "700")
    pause = threading.Event()

    def slow(_digest: str) -> bool:
        return pause.wait(1.5)

    with closing(Database.url(postgres.url(name))) as hurried:
        missing = [found.what for found in look(hurried, slow) if found.rule == "files"]
    assert missing == ["dist/a, an output of task 1.1, is not in the store"]


# ── the schema ──


def test_a_schema_that_is_behind_ahead_or_missing(postgres: Postgres) -> None:
    name = postgres.fresh()
    with closing(Database.url(postgres.url(name))) as db:
        postgres.sql("UPDATE alembic_version SET version_num = '9999'", name)
        migrate(db, "here")  # a newer farm's, which says that this one can live with it
        postgres.sql("UPDATE meta SET value = '9999' WHERE key = 'floor'", name)
        with pytest.raises(BadDatabase, match="written by a newer farm"):
            migrate(db, "here")
        postgres.sql(f"UPDATE alembic_version SET version_num = '{databases.HEAD}'", name)
        postgres.sql("ALTER TABLE step DROP COLUMN chunk", name)
        with told("a column of the farm is missing"):
            QueueFarm(db).submit(array(1))
        postgres.sql("DROP TABLE step CASCADE", name)
        with pytest.raises(DBAPIError) as error:
            QueueFarm(db).submit(array(1))
        assert "a table of the farm is missing" in pg.said(error.value)


def test_another_programs_database_is_left_alone(postgres: Postgres) -> None:
    name = postgres.bare()
    postgres.sql("CREATE TABLE users (name text)", name)
    with closing(Database.url(postgres.url(name))) as db:
        with pytest.raises(BadDatabase, match="another program's database"):
            migrate(db, "here")
        postgres.sql("DROP TABLE users", name)
        assert revision(db, "here") is None
        migrate(db, "here")
        assert revision(db, "here") == databases.HEAD


def test_prepared_statements_can_be_switched_off(postgres: Postgres, name: str) -> None:
    """As a PgBouncer that lends its connections by the transaction wants it."""
    prepared = "SELECT count(*) FROM pg_prepared_statements"
    counts = []
    for more in ("", "&prepare_threshold=none"):
        with closing(Database.url(postgres.url(name) + more)) as db, db.engine.connect() as tx:
            for _ in range(7):
                tx.execute(select(t.Job.id))
            counts.append(tx.execute(text(prepared)).scalar_one())
    assert counts[0] > counts[1] == 0


def stand_still(frozen: Database, other: Database) -> None:
    """In the middle of a change; goes on once somebody else has written."""
    with frozen.write() as tx:
        tx.exec_driver_sql("UPDATE meta SET value = 'undone' WHERE key = 'floor'")
        with other.write() as second:  # as soon as the server has let go of the writer's lock
            assert second.exec_driver_sql("SELECT value FROM meta WHERE key = 'floor'").scalar_one() != "undone"
        tx.exec_driver_sql("SELECT 1")


def test_one_that_hurries_and_stands_still_in_the_middle_of_a_change_is_cut_off(postgres: Postgres) -> None:
    """Others that want to write wait for it no longer than that; it notices, and its change is undone."""
    url = postgres.url(postgres.fresh())
    with closing(Database.url(url)) as frozen, closing(Database.url(url)) as other:
        frozen.hurry(0.5)
        with pytest.raises(DBAPIError) as caught:
            stand_still(frozen, other)
        assert pg.returns(caught.value)
