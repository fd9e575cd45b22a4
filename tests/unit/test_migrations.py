"""The schema that migrations make is the one that the code expects."""

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from farm.db import HEAD, BadDatabase, Database, migrate
from farm.tables import Base


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    db = Database.file(tmp_path / "farm.db")
    migrate(db, "farm.db")
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == HEAD
    db.close()


def test_the_newest_revision_is_the_one_we_stop_at() -> None:
    scripts = ScriptDirectory(str(Path(__file__).parents[2] / "farm" / "migrations"))
    assert scripts.get_current_head() == HEAD


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    db = Database.file(tmp_path / "farm.db")
    migrate(db, "farm.db")
    migrate(db, "farm.db")
    db.close()


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
