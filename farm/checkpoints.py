"""Beside those who write, what SQLite keeps in its log goes into the database: a commit that does it by the way takes
ten times as long, and others wait for it."""

import logging
import threading
from pathlib import Path

from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as NoConnection

from farm.db import Database

log = logging.getLogger(__name__)

EVERY_S = 2.0  # if anything was written


class Checkpoints:
    """A thread; on PostgreSQL none, whose server does the same."""

    def __init__(self, db: Database) -> None:
        self._db, self._log = db, Path(f"{db.where}-wal")
        self._closed = threading.Event()
        self._seen = 0
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        if self._db.sqlite:
            self._thread.start()

    def stop(self) -> None:
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while not self._closed.wait(EVERY_S):
            try:
                self.look()
            except (DatabaseError, NoConnection, OSError) as error:
                # the next look may be luckier; before the log is large, a commit
                log.info("the log of the database waits: %s", error)

    def look(self) -> bool:
        """Whether anything was to be done. No writer waits for it."""
        if (written := self._log.stat().st_mtime_ns) == self._seen:
            return False
        with self._db.engine.connect() as tx:
            tx.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
            tx.rollback()
        self._seen = written
        return True
