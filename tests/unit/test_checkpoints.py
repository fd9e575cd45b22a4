"""What SQLite keeps in its log goes into the database beside those who write."""

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as NoConnection

from farm import checkpoints
from farm.checkpoints import Checkpoints
from farm.db import Database


@pytest.fixture
def db(tmp_path, empty):
    db = Database.file(Path(shutil.copy(empty, tmp_path)))
    yield db
    db.close()


def put(db: Database, value: str) -> None:
    with db.write() as tx:
        tx.exec_driver_sql("INSERT OR REPLACE INTO meta (key, value) VALUES ('note', ?)", (value,))


def in_file(db: Database, folder: Path) -> list[str]:
    """What the database says without its log."""
    file = shutil.copy(db.where, folder / "without-log.db")
    with sqlite3.connect(file) as found:
        return [row[0] for row in found.execute("SELECT value FROM meta WHERE key = 'note'")]


def test_what_was_written_is_in_the_file_after_a_look(db, tmp_path):
    put(db, "first")
    assert in_file(db, tmp_path) == []
    looks = Checkpoints(db)
    assert looks.look()
    assert in_file(db, tmp_path) == ["first"]
    assert not looks.look()
    put(db, "second")
    assert looks.look()
    assert in_file(db, tmp_path) == ["second"]


def test_a_look_waits_for_no_writer_and_no_reader(db, tmp_path):
    put(db, "first")
    with db.read() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM meta").scalar_one()
        with db.write() as tx:
            tx.exec_driver_sql("UPDATE meta SET value = 'second' WHERE key = 'note'")
            Checkpoints(db).look()
    assert in_file(db, tmp_path) == ["first"]


def test_it_ends_when_it_is_told(db):
    looks = Checkpoints(db)
    looks.start()
    looks.stop()
    assert not looks._thread.is_alive()


def test_it_looks_again_when_all_connections_were_taken(db, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.01)
    looks, again, errors = Checkpoints(db), threading.Event(), [NoConnection("QueuePool limit")]

    def look() -> bool:
        if errors:
            raise errors.pop()
        again.set()
        return True

    monkeypatch.setattr(looks, "look", look)
    looks.start()
    assert again.wait(60)
    looks.stop()
