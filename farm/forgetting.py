"""Jobs that ended long ago are forgotten: their tasks, attempts and steps go, in small transactions beside live work.

The books hold at every moment between: what is left of a job counts what is left of its tasks. The bill stays.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, text, update

from farm import tables as t
from farm.clock import micros
from farm.db import Database
from farm.model import JobState, TaskState
from farm.queue.retry import FORGOTTEN
from farm.tables import AnyRow

GROUP = 500  # tasks of one transaction: whoever wants to write meanwhile waits for some milliseconds
UPTO = (
    "forgotten"  # in table meta: rows of the bill up to this microsecond may be for jobs and executors that are no more
)
PAUSE_S = 0.01  # between two transactions others come first

_ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
_BEHIND = t.Job.__table__.alias("behind")
_NEWEST = select(func.max(t.Job.__table__.alias("newest").c.id)).scalar_subquery()
_OLD = (
    select(t.Job.id, t.Job.total)
    .where(t.Job.state.in_(_ENDED), t.Job.finished < bindparam("cut", type_=t.Utc()), t.Job.id > bindparam("last"))
    .where(~exists().where(t.Ledger.job == t.Job.id, t.Ledger.until > bindparam("cut", type_=t.Utc())))
    .where(
        ~exists()
        .where(t.JobEdge.before == t.Job.id, t.JobEdge.job == _BEHIND.c.id)
        .where(_BEHIND.c.state.not_in(_ENDED))
    )
    .where(~exists().where(t.Executor.job == t.Job.id, t.Executor.ended.is_(None)))
    .where(t.Job.id < _NEWEST)  # SQLite numbers the next job after it, and a number on the bill is nobody else's
    .order_by(t.Job.id)
    .limit(bindparam("most"))
)
_JOBS: Any = bindparam("jobs", expanding=True)
_STILL_OLD = _OLD.where(t.Job.id.in_(_JOBS))  # one of them may have been told to go again meanwhile
_WHOLE = (
    delete(t.Attempt).where(t.Attempt.job.in_(_JOBS)),
    delete(t.TaskEdge).where(t.TaskEdge.job.in_(_JOBS)),
    delete(t.Task).where(t.Task.job.in_(_JOBS)),
    delete(t.Step).where(t.Step.job.in_(_JOBS)),
    delete(t.JobEdge).where(or_(t.JobEdge.job.in_(_JOBS), t.JobEdge.before.in_(bindparam("jobs", expanding=True)))),
    update(t.Executor).where(t.Executor.job.in_(_JOBS)).values(job=None),
    delete(t.Job).where(t.Job.id.in_(_JOBS)),
)
_SAID = update(t.Meta).where(t.Meta.key == UPTO).values(value=bindparam("v"))
_SAY = insert(t.Meta)
_READ = select(t.Meta.value).where(t.Meta.key == UPTO)
_TASKS = (
    select(t.Task.number, t.Task.step, t.Task.state, t.Task.cause)
    .where(t.Task.job == bindparam("j"), t.Task.number > bindparam("last"))
    .order_by(t.Task.number)
    .limit(bindparam("most"))
)
_MADE = select(t.Task.step, func.count().label("n")).where(t.Task.job == bindparam("j")).group_by(t.Task.step)
_STEPS = select(t.Step.ordinal, t.Step.next, t.Step.total).where(t.Step.job == bindparam("j"))
_SPARED = select(func.min(t.Task.number)).where(
    t.Task.job == bindparam("j"), text(t.TASK_BAD), t.Task.state == bindparam("s")
)
_NUMBERS: Any = bindparam("numbers", expanding=True)
_SOME = (
    delete(t.Attempt).where(t.Attempt.job == bindparam("j"), t.Attempt.number.in_(_NUMBERS)),
    delete(t.TaskEdge).where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.number.in_(_NUMBERS)),
    delete(t.TaskEdge).where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.before.in_(_NUMBERS)),
    delete(t.Task).where(t.Task.job == bindparam("j"), t.Task.number.in_(_NUMBERS)),
)
_LESS_STEP = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))
    .values(total=t.Step.total - bindparam("n"), bad=t.Step.bad - bindparam("worse"), early=0, next=bindparam("after"))
)
_LESS_JOB = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"))
    .values(total=t.Job.total - bindparam("n"))
    .values({state: getattr(t.Job, state) - bindparam(state) for state in ("done", "failed", "cancelled", "skipped")})
    .values(why=FORGOTTEN)
)


@dataclass(slots=True)
class Forgotten:
    jobs: int = 0
    tasks: int = 0


def forget(
    database: Database, cut: datetime, dry: bool = False, wait: Callable[[float], object] | None = None
) -> Forgotten:
    """Jobs that ended before `cut`, but those that an open job comes after, those still on a younger bill, and the
    newest of all.

    Stopped in the middle, the next time goes on. `wait` is called between two transactions, with seconds.
    """
    out, last = Forgotten(), 0
    pause = wait or threading.Event().wait
    while True:
        with database.read() as tx:
            old = tx.execute(_OLD, {"cut": cut, "last": last, "most": GROUP}).all()
        if not old:
            return out
        last = old[-1].id
        if not out.jobs and not dry:
            say(database, cut)
        out.jobs += len(old)
        out.tasks += sum(row.total for row in old)
        if not dry:
            _all(database, cut, old, pause)


def say(database: Database, cut: datetime) -> None:
    """Rows of the bill up to then may be about what is no more."""
    with database.write() as tx:
        said = tx.execute(_READ).scalar_one_or_none()
        if said is None:
            tx.execute(_SAY, {"key": UPTO, "value": str(micros(cut))})
        else:
            tx.execute(_SAID, {"v": str(max(int(said), micros(cut)))})


def _all(database: Database, cut: datetime, old: Sequence[AnyRow], pause: Callable[[float], object]) -> None:
    """Small ones together, large ones in parts."""
    some: list[int] = []
    size = 0
    for row in old:
        if row.total > GROUP:
            _large(database, cut, row.id, pause)
        if some and size + row.total > GROUP:
            _whole(database, cut, some, pause)
            some, size = [], 0
        some.append(row.id)
        size += min(row.total, GROUP)
    _whole(database, cut, some, pause)


def _whole(database: Database, cut: datetime, jobs: Sequence[int], pause: Callable[[float], object]) -> None:
    with database.write() as tx:
        old = _still_old(tx, cut, jobs)
        for statement in _WHOLE if old else ():
            tx.execute(statement, {"jobs": old})
    pause(PAUSE_S)


def _still_old(tx: Connection, cut: datetime, jobs: Sequence[int]) -> list[int]:
    about = {"cut": cut, "last": 0, "most": len(jobs), "jobs": jobs}
    return [row.id for row in tx.execute(_STILL_OLD, about)]


def _large(database: Database, cut: datetime, job: int, pause: Callable[[float], object]) -> None:
    """All tasks but the first that failed and the first that was cancelled: they say why the job ended as it did."""
    with database.read() as tx:
        spared = {tx.execute(_SPARED, {"j": job, "s": s}).scalar() for s in (TaskState.FAILED, TaskState.CANCELLED)}
        made = {row.step: row.n for row in tx.execute(_MADE, {"j": job})}
        untouched = {row.ordinal: row.total - made.get(row.ordinal, 0) for row in tx.execute(_STEPS, {"j": job})}
    last = 0
    while True:
        with database.write() as tx:
            old = _still_old(tx, cut, [job])
            rows = tx.execute(_TASKS, {"j": job, "last": last, "most": GROUP}).all() if old else []
            if rows:
                last = rows[-1].number
                _part(tx, job, [row for row in rows if row.number not in spared], untouched)
        if not rows:
            return
        pause(PAUSE_S)


def _part(tx: Connection, job: int, rows: Sequence[AnyRow], untouched: dict[int, int]) -> None:
    """These tasks go, and nothing counts them any more."""
    if not rows:
        return
    for statement in _SOME:
        tx.execute(statement, {"j": job, "numbers": [row.number for row in rows]})
    for step in tx.execute(_STEPS, {"j": job}).all():
        mine = [row for row in rows if row.step == step.ordinal]
        if mine:
            tx.execute(_LESS_STEP, _less(job, step, mine, untouched[step.ordinal]))
    states = Counter(str(row.state) for row in rows)
    counts = {state: states[state] for state in ("done", "failed", "cancelled", "skipped")}
    tx.execute(_LESS_JOB, {"j": job, "n": len(rows), **counts})


def _less(job: int, step: AnyRow, rows: Sequence[AnyRow], untouched: int) -> dict[str, Any]:
    """A step of which some tasks were skipped before they had rows stays one that handed out no more than it did."""
    total = step.total - len(rows)
    after = total - untouched if step.next < step.total else total
    worse = sum(row.state in (TaskState.FAILED, TaskState.CANCELLED) or _needs(row) for row in rows)
    return {"j": job, "o": step.ordinal, "n": len(rows), "worse": worse, "after": after}


def _needs(row: AnyRow) -> bool:
    return bool(row.state == TaskState.SKIPPED and row.cause == "needs")
