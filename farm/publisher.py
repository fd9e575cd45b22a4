"""What is accepted is published: wheels go into the farm's index, and what they were built of is remembered."""

import errno
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, bindparam, delete, insert, select
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import InstrumentedAttribute

from farm import tables as t
from farm.model import File, Item, JobSpec, StepSpec, TaskState
from farm.tables import AnyRow
from farm.workloads.packages.plan import Built, remember

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

_GOOD = [TaskState.DONE, TaskState.SKIPPED]
_ITEMS = (
    select(t.Task.number, t.Task.name, t.Task.params, t.Task.outputs, t.Task.state, t.Job.owner)
    .join(t.Job, t.Job.id == t.Task.job)
    .where(t.Task.job == bindparam("j"), t.Job.kind == "packages", t.Task.params.is_not(None))
    .where(t.Task.cause != "needs")
)
_BUILT = select(t.Built)


def _ahead(what: InstrumentedAttribute[Any], states: Sequence[TaskState]) -> Select[Any]:
    """Tasks of rebuilds in these states that are newer than what is published of their package."""
    return (
        select(what)
        .select_from(t.Task)
        .join(t.Job, t.Job.id == t.Task.job)
        .outerjoin(t.Built, t.Built.package == t.Task.name)
        .where(t.Job.kind == "packages", t.Task.state.in_(states), t.Task.params.is_not(None))
        .where(t.Task.cause != "needs", (t.Built.job.is_(None)) | (t.Built.job < t.Task.job))
        .distinct()
    )


_UNPUBLISHED = _ahead(t.Task.job, _GOOD).order_by(t.Task.job)
_CONTESTED = _ahead(t.Task.name, [*_GOOD, TaskState.BLOCKED, TaskState.READY, TaskState.RUNNING])
_FORGET = delete(t.Built).where(t.Built.package == bindparam("p"), t.Built.job <= bindparam("j"))
_KNOWN = select(t.Built.package).where(t.Built.package == bindparam("p"))
_NEWER = select(t.Built.package).where(t.Built.job > bindparam("j"))
_INSERT = insert(t.Built)
AGAIN_S = 2.0  # the database was away, or the disk full
_ALL = 0  # in the place of a job: all of which something is not published


def built(tx: Connection) -> dict[str, Built]:
    """The last accepted build of every package, and whether a later job may still replace it."""
    contested = set(tx.execute(_CONTESTED).scalars())
    return {
        row.package: Built(row.source, row.environment, tuple(File(**o) for o in row.outputs), row.package in contested)
        for row in tx.execute(_BUILT)
    }


class Publisher:
    """One thread: accepted results in, the index and the table of builds out. Repeating any of it is harmless."""

    def __init__(self, farm: "Farm") -> None:
        self._farm = farm
        self._jobs: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._publishing, name="publisher", daemon=True)
        self._pending, self._moved = 0, threading.Condition()
        self._closed = threading.Event()
        farm.feed.accepted = self._accepted
        farm.published = self.published
        farm.db.doubted.append(lambda: self._put(_ALL))  # something may have been accepted that nobody was told of

    def _accepted(self, tasks: Sequence[tuple[int, int]]) -> None:
        for job in dict.fromkeys(job for job, _ in tasks):
            self._put(job)

    def _put(self, job: int) -> None:
        with self._moved:
            self._pending += 1
        self._jobs.put(job)

    def start(self) -> None:
        for job in self._unpublished():
            self._put(job)
        self._thread.start()

    def _unpublished(self) -> Sequence[int]:
        with self._farm.db.read() as tx:
            return tx.execute(_UNPUBLISHED).scalars().all()

    def published(self, seconds: float) -> bool:
        """Wait until all that was accepted before this call is in the index; False when the time is up."""
        with self._farm.db.write():
            pass  # whoever was writing has announced by now what it accepted
        with self._moved:
            return self._moved.wait_for(lambda: not self._pending or not self._thread.is_alive(), seconds)

    def stop(self) -> None:
        self._closed.set()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(30)

    def _publishing(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._take(job)
            except Exception as error:
                self._failed(job, error)
            with self._moved:
                self._pending -= 1
                self._moved.notify_all()

    def _take(self, job: int) -> None:
        if job != _ALL:
            return self.publish(job)
        for one in self._unpublished():  # each by itself: one that can't be published holds up no other
            self._put(one)
        return None

    def _failed(self, job: int, error: Exception) -> None:
        if not _passes(error):
            log.error("results of job %s could not be published; they are at the next start", job, exc_info=error)
            return
        log.warning("results can't be published just now: %s", getattr(error, "orig", error))
        self._closed.wait(AGAIN_S)
        self._put(job)

    def publish(self, job: int) -> None:
        """Everything of a job that is accepted and not published yet, unless a newer job's result of it is.

        What is skipped counts: its wheels of before may have been replaced since by an older job that came in late.
        First the index, then the table, from which the next start sees what may be missing in the index.
        """
        from farm.workloads.packages.index import publish

        with self._farm.db.read() as tx:
            rows = tx.execute(_ITEMS, {"j": job}).all()
            newer = set(tx.execute(_NEWER, {"j": job}).scalars())
        outputs = {r.name: [File(**o) for o in r.outputs or ()] for r in rows if r.state in _GOOD}
        if not outputs:
            return
        known = remember(_spec(rows), outputs, {})
        won = {name: build for name, build in known.items() if name not in newer}
        publish([file for build in won.values() for file in build.outputs], self._farm.store, self._farm.home.index)
        self._write(job, rows, won)

    def _write(self, job: int, rows: Sequence[AnyRow], known: Mapping[str, Built]) -> None:
        number = {row.name: row.number for row in rows}
        with self._farm.db.write() as tx:
            for name, build in known.items():
                tx.execute(_FORGET, {"p": name, "j": job})
                if tx.execute(_KNOWN, {"p": name}).first() is None:
                    tx.execute(_INSERT, _row(name, build, job, number[name], self._farm))


def _passes(error: Exception) -> bool:
    """Whether the database is away, or the disk full: neither is for ever."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, OperationalError | InternalError | NoConnection)


def _row(name: str, build: Built, job: int, number: int, farm: "Farm") -> dict[str, Any]:
    return {
        "package": name,
        "source": build.source,
        "environment": build.environment,
        "outputs": [o.model_dump() for o in build.outputs],
        "job": job,
        "number": number,
        "at": farm.clock.now(),
    }


def _spec(rows: Sequence[AnyRow]) -> JobSpec:
    """The job as it was planned, from its tasks."""
    items = tuple(Item(**row.params) for row in rows)
    return JobSpec(kind="packages", name="rebuild", owner=rows[0].owner, steps=(StepSpec(items=items),))
