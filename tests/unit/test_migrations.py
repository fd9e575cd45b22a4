"""The schema that migrations make is the one that the code expects."""

import inspect
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from farm.db import FLOOR, HEAD, BadDatabase, Database, migrate, revision
from farm.integrity import look
from farm.tables import Base
from tests.postgres import Postgres

TAKES = ("drop_index", "drop_column", "drop_table", "drop_constraint", "rename", "alter_column")


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        made = Database.file(tmp_path / "farm.db")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        made = Database.url(server.url(server.bare()))
    yield made
    made.close()


def upgrade(db: Database, target: str) -> None:
    """Up to this revision and no further."""
    config = Config()
    config.set_main_option("script_location", "farm:migrations")
    config.set_main_option("path_separator", "os")
    with db.write() as tx:
        config.attributes["connection"] = tx
        command.upgrade(config, target)


def test_migrations_and_tables_agree(bare: Database) -> None:
    db = bare
    migrate(db, "farm.db")
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == HEAD


def test_the_newest_revision_is_the_one_we_stop_at() -> None:
    scripts = ScriptDirectory(str(Path(__file__).parents[2] / "farm" / "migrations"))
    assert scripts.get_current_head() == HEAD


def test_migrating_twice_changes_nothing(bare: Database) -> None:
    migrate(bare, "farm.db")
    migrate(bare, "farm.db")
    assert revision(bare, "farm.db") == HEAD


# ── old and new side by side ──


def test_the_farm_of_the_version_before_works_with_the_new_schema(bare: Database) -> None:
    """All that it reads is still there, and all that it writes is taken: what is new may be left out."""
    upgrade(bare, FLOOR)
    old = sa.MetaData()
    with bare.read() as tx:
        old.reflect(tx)
    old.remove(old.tables["alembic_version"])
    migrate(bare, "farm.db")
    with bare.write() as tx:
        for table in old.sorted_tables:
            tx.execute(sa.insert(table), {column.name: value(column) for column in table.c})
            assert len(tx.execute(sa.select(table)).all()) >= 1
            words = {column.name: value(column) for column in table.c if not column.primary_key}
            if words:
                tx.execute(sa.update(table).values(words))


def value(column: sa.Column[Any]) -> object:
    """One that fits, and the same for what points to each other."""
    for kind, made in ((sa.JSON, {}), (sa.Boolean, False), (sa.Integer, 1), (sa.Float, 1.0), (sa.Numeric, 1)):
        if isinstance(column.type, kind):
            return made
    return "1"


def test_a_farm_knows_whether_it_can_live_with_a_newer_schema(bare: Database) -> None:
    migrate(bare, "farm.db")
    for floor, fits in ((HEAD, True), ("9998", False)):
        with bare.write() as tx:
            tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
            tx.exec_driver_sql(f"UPDATE meta SET value = '{floor}' WHERE key = 'floor'")
        if fits:
            migrate(bare, "farm.db")
            assert list(look(bare)) == []
        else:
            with pytest.raises(BadDatabase, match="newer farm"):
                migrate(bare, "farm.db")
            with pytest.raises(BadDatabase, match="newer farm"):
                list(look(bare))


def test_the_floor_is_no_higher_than_the_version_before() -> None:
    """Expand now, contract later: a farm and the one before it share a database while they change places."""
    scripts = ScriptDirectory(str(Path(__file__).parents[2] / "farm" / "migrations"))
    newest = scripts.get_revision(HEAD)
    assert newest is not None
    assert str(newest.down_revision) >= FLOOR


def test_nothing_that_a_farm_above_the_floor_uses_is_taken_away() -> None:
    """An index that covers less than before is one that is gone: whoever relied on it looks at every row instead."""
    scripts = ScriptDirectory(str(Path(__file__).parents[2] / "farm" / "migrations"))
    later = [script for script in scripts.walk_revisions() if script.revision > FLOOR]
    found = [(one.revision, word) for one in later for word in TAKES if word in inspect.getsource(one.module.upgrade)]
    assert not found, "raise FLOOR to it"


def test_two_that_migrate_at_once_do_it_once(bare: Database) -> None:
    failures: list[BaseException] = []

    def one() -> None:
        try:
            migrate(bare, "farm.db")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert revision(bare, "farm.db") == HEAD


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE users (name)", "another program"),
        ("CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('9999')", "newer"),
    ],
)
def test_other_databases_are_refused(tmp_path: Path, statement: str, words: str) -> None:
    path = tmp_path / "farm.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(statement)
    connection.close()
    db = Database.file(path)
    with pytest.raises(BadDatabase, match=words):
        migrate(db, "farm.db")
    db.close()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    path.write_bytes(b"this is a text, and longer than a header of a database would be" * 20)
    db = Database.file(path)
    with pytest.raises(BadDatabase, match="no database"):
        migrate(db, "farm.db")
    db.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    db = Database.file(tmp_path / "nowhere" / "farm.db")
    with pytest.raises(BadDatabase, match="can't be opened"):
        migrate(db, "farm.db")
    db.close()
