"""A farm moves between SQLite and PostgreSQL, and nothing of it is lost on the way."""

import fcntl
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from farm import postgres as pg
from farm import tables as t
from farm.database_copy import copy, sums
from farm.database_url import Address, address, file
from farm.db import BadDatabase, Database, migrate
from farm.integrity import findings, look
from farm.postgres import take_service
from farm.refusal import Conflict, Unavailable
from farm.tables import Base
from tests.contract.queue_farm import QueueFarm
from tests.postgres import Postgres
from tests.unit.test_integrity import DAMAGE
from tests.unit.worked_farm import work

SPOIL = "CREATE FUNCTION spoil() RETURNS trigger AS 'BEGIN NEW.cpu_ms := 7; RETURN NEW; END' LANGUAGE plpgsql"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work(tmp_path_factory.mktemp("worked") / "farm.db")


@pytest.fixture
def source(worked: Path, tmp_path: Path) -> Address:
    return file(Path(shutil.copy(worked, tmp_path / "farm.db")))


@pytest.fixture
def target(postgres: Postgres) -> Address:
    return address(postgres.url(postgres.bare()), "test")


@pytest.fixture
def moved(source: Address, target: Address) -> Iterator[Database]:
    copy(source, target)
    with closing(target.connect()) as db:
        yield db


def all_rows(place: Address) -> dict[str, list[tuple[object, ...]]]:
    with closing(place.connect()) as db, db.read() as tx:
        return {
            table.name: sorted((tuple(row) for row in tx.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }


def test_there_and_back_nothing_is_lost(source: Address, target: Address, tmp_path: Path) -> None:
    back = file(tmp_path / "back.db")
    there = copy(source, target)
    assert there == copy(target, back)
    assert there["task"] > 5
    assert there["ledger"] > 2
    assert all_rows(source) == all_rows(target) == all_rows(back)
    for place in (target, back):
        with closing(place.connect()) as db:
            assert list(look(db)) == []


def test_a_file_that_is_copied_to_is_nobody_elses(source: Address, tmp_path: Path) -> None:
    copy(source, file(tmp_path / "copy.db"))
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0
    with pytest.raises(BadDatabase, match="can't be opened"):
        copy(source, file(tmp_path / "nowhere" / "copy.db"))


def test_work_goes_on_with_new_numbers(moved: Database) -> None:
    farm = QueueFarm(moved)
    with moved.read() as tx:
        last = max(tx.execute(select(t.Job.id)).scalars())
    farm.clock.turn(86_400)
    job = farm.submit({"argv": ("x",)})  # type: ignore[arg-type]
    assert job == last + 1
    farm.run(job)
    assert farm.state(job) == "done"


def test_a_row_that_changes_on_the_way_is_noticed(source: Address, target: Address) -> None:
    """A trigger stands for whatever might do so."""
    with closing(target.connect()) as db:
        migrate(db, db.where)
        with db.write() as tx:
            tx.exec_driver_sql(SPOIL)
            tx.execute(text("CREATE TRIGGER spoil BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION spoil()"))
    with pytest.raises(Unavailable, match=r"task did not arrive as it was sent: cpu_ms"):
        copy(source, target)
    assert all_rows(target)["job"] == []


def test_one_side_may_take_its_time(source: Address, target: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a farm's own change may stand still."""
    with closing(target.connect()) as db:
        migrate(db, db.where)
    monkeypatch.setitem(pg._SETTINGS, "idle_in_transaction_session_timeout", "700")
    pause = threading.Event()

    def slow(table: str, _rows: int) -> None:
        pause.wait(1.5 if table == "job" else 0)

    assert copy(source, target, slow)["job"]


def test_a_farm_that_is_there_already_is_not_written_over(source: Address, target: Address, moved: Database) -> None:
    with pytest.raises(Conflict, match="there is a farm in it already"):
        copy(source, target)
    with pytest.raises(Conflict, match="onto itself"):
        copy(target, target)


def test_what_is_no_farm_is_not_copied(target: Address, tmp_path: Path) -> None:
    with pytest.raises(BadDatabase, match="there is no farm in it"):
        copy(file(tmp_path / "nothing.db"), target)


def test_not_while_a_service_runs_on_either(
    source: Address, target: Address, postgres: Postgres, tmp_path: Path
) -> None:
    with (tmp_path / "service.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="a service runs on it; `farm down`") as refusal:
            copy(source, target)
        assert refusal.value.where == str(source.path)
    name = str(make_url(target.url).database)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as service:
        assert take_service(service, "a service")
        with pytest.raises(Conflict, match="a service runs on it"):
            copy(source, target)
    assert copy(source, target)["job"]


def test_sums_see_a_difference_in_any_kind_of_column(source: Address) -> None:
    with closing(source.connect()) as db, db.write() as tx:
        task, executor = Base.metadata.tables["task"], Base.metadata.tables["executor"]
        before = sums(tx, task), sums(tx, executor)
        for statement, place in (
            ("UPDATE task SET due = due + 1 WHERE number = 1 AND job = 1", 0),
            ("UPDATE task SET name = name || 'x' WHERE number = 1 AND job = 1", 0),
            ("UPDATE task SET params = '{}' WHERE number = 1 AND job = 1", 0),
            ("UPDATE executor SET closed = NOT closed WHERE id = (SELECT MIN(id) FROM executor)", 1),
            ("DELETE FROM task WHERE number = 1 AND job = 1", 0),
        ):
            tx.execute(text("SAVEPOINT here"))
            assert tx.execute(text(statement)).rowcount == 1
            assert (sums(tx, task), sums(tx, executor))[place] != before[place], statement
            tx.execute(text("ROLLBACK TO here"))


def test_each_damage_is_found_there_too(moved: Database) -> None:
    with moved.write() as tx:
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")  # foreign keys would forbid some
        for damage, words in DAMAGE.items():
            if "alembic_version" in damage:
                continue
            with tx.begin_nested() as undone:
                assert tx.exec_driver_sql(damage).rowcount, damage
                said = [f"{finding.rule}: {finding.what}" for finding in findings(tx)]
                undone.rollback()
            assert any(words in one for one in said), (damage, said)
        assert list(findings(tx)) == []
