"""In a process of the API that does not lead: wakes those who wait for jobs, which another process has moved."""

import logging
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from farm import postgres
from farm import tables as t
from farm.db import Database
from farm.model import JobState
from farm.queue.progress import Changed

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

LOOK_S = 1.0  # a notification that was lost is made good by then
GLANCE_S = 0.05  # between two looks at an SQLite file, while somebody waits
GAP_S = 0.02  # between two looks at jobs
KEPT = 10_000  # jobs that were waited for, as they were seen last
_ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
_JOBS = select(t.Job.id, t.Job.changes, t.Job.state).where(t.Job.id.in_(bindparam("ids", expanding=True)))


class News:
    """Looks at the jobs that somebody waits for: on PostgreSQL when told to, on SQLite when the file was written to."""

    def __init__(self, farm: "Farm") -> None:
        self._farm = farm
        self._seen: dict[int, tuple[int, str]] = {}
        self._closed = threading.Event()
        work = [self._looking] if farm.db.sqlite else [self._looking, self._listening]
        self._threads = [threading.Thread(target=one, name="news", daemon=True) for one in work]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._closed.set()
        self._farm.feed.awaited.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(5)

    def look(self) -> None:
        """Publish those that moved since the last look; a new one once, for it may have moved before. Raises
        SQLAlchemyError."""
        if jobs := self._farm.feed.waited():
            self._farm.feed.publish(self._moved(jobs))

    def _moved(self, jobs: Collection[int]) -> Changed:
        with self._farm.db.read() as tx:
            found = {row.id: (row.changes, row.state) for row in tx.execute(_JOBS, {"ids": list(jobs)})}
        moved = {job for job, now in found.items() if self._seen.get(job) != now}
        for job in found:
            self._seen.pop(job, None)
        self._seen |= found
        while len(self._seen) > KEPT:
            del self._seen[next(iter(self._seen))]
        return Changed(jobs=moved, ended={job for job in moved if found[job][1] in _ENDED})

    def _looking(self) -> None:
        glance = Glance(self._farm.db) if self._farm.db.sqlite else None
        awaited = self._farm.feed.awaited
        while not self._closed.is_set():
            told = awaited.wait(GLANCE_S if glance and self._farm.feed.waited() else LOOK_S)
            awaited.clear()
            try:
                if told or glance is None or glance.moved():
                    self.look()
            except SQLAlchemyError as error:
                log.info("whether any job moved can't be seen: %s", error)
                self._closed.wait(LOOK_S)
            self._closed.wait(GAP_S)

    def _listening(self) -> None:
        import psycopg

        while not self._closed.is_set():
            try:
                with postgres.alone(self._farm.db.engine) as connection:
                    postgres.hear_news(connection)
                    self._hear(connection)
            except psycopg.Error as error:
                log.info("the database can't be heard: %s", error)
                self._closed.wait(LOOK_S)

    def _hear(self, connection: Any) -> None:
        """Until the connection is lost, or ours is no longer needed."""
        while not self._closed.is_set():
            for _ in connection.notifies(timeout=LOOK_S, stop_after=1):
                self._farm.feed.awaited.set()
            connection.execute("SELECT 1")  # a cut line says nothing by itself


class Glance:
    """Whether an SQLite file was written to by any other connection, without reading a page of it."""

    def __init__(self, db: Database) -> None:
        self._db, self._before = db, -1
        self._connection: Connection | None = None

    def moved(self) -> bool:
        """Raises SQLAlchemyError."""
        self._connection = self._connection or self._db.engine.connect()
        now = int(self._connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        before, self._before = self._before, now
        return now != before
