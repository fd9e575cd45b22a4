"""Ending what a user no longer wants."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from farm import bulk
from farm import tables as t
from farm.model import AttemptState, JobState, TaskState
from farm.queue import early, endings
from farm.queue.progress import ENDED, Changed, End, account, give_up
from farm.reference import Reference
from farm.refusal import Conflict, NotFound
from farm.tables import AnyRow

_JOB = select(t.Job).where(t.Job.id == bindparam("j"))
_RUNNING = (
    select(t.Attempt.job, t.Attempt.number, t.Attempt.step, t.Task.params.is_not(None).label("item"))
    .add_columns(t.Attempt.ordinal, t.Attempt.executor)
    .join(t.Task, and_(t.Task.job == t.Attempt.job, t.Task.number == t.Attempt.number))
    .where(t.Attempt.job == bindparam("j"), t.Attempt.finished.is_(None), t.Task.state == TaskState.RUNNING)
    .where(t.Attempt.state.in_([AttemptState.CLAIMED, AttemptState.STARTED]))
)
_ONE_RUNNING = _RUNNING.where(t.Attempt.number == bindparam("n"))
_TASK = select(t.Task).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_STEP = (
    select(t.Step)
    .where(t.Step.job == bindparam("j"))
    .where(t.Step.first_number <= bindparam("n"), bindparam("n") < t.Step.first_number + t.Step.total)
)
_END_TASK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == bindparam("was"))
    .values(state=TaskState.CANCELLED, cause="cancelled", finished=bindparam("at"))
)
_END_ATTEMPT = (
    update(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o"))
    .where(or_(t.Attempt.state == AttemptState.CLAIMED, t.Attempt.state == AttemptState.STARTED))
    .values(state=AttemptState.CANCELLED, cause="cancelled", finished=bindparam("at"))
)


@dataclass(slots=True)
class Cancelled:
    """Attempts that must be ended where they run, and what moved."""

    attempts: list[tuple[str, str]] = field(default_factory=list)  # (executor, attempt)
    tasks: int = 0
    changed: Changed = field(default_factory=Changed)


def cancel(tx: Connection, ref: Reference, now: datetime) -> Cancelled:
    """A job with all its tasks, or one task. Raises NotFound, Conflict when it has ended already."""
    job = tx.execute(_JOB, {"j": ref.job}).one_or_none()
    if job is None:
        raise NotFound(f"there is no job {ref.job}", remedy="see `farm jobs`")
    if job.state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED):
        raise Conflict(f"job {ref.job} is {job.state} already")
    return _cancel_job(tx, ref.job, now) if ref.number is None else _cancel_task(tx, ref, now)


def _cancel_job(tx: Connection, job: int, now: datetime) -> Cancelled:
    out = Cancelled()
    endings.of_job(tx, job, None, now)
    ends = _end_running(tx, tx.execute(_RUNNING, {"j": job}).all(), out, now)
    ends += give_up(tx, job, "cancelled by its user", out.changed, now)
    out.tasks = sum(e.rows for e in ends)
    out.changed.join(account(tx, ends, now))
    return out


def _end_running(tx: Connection, rows: Sequence[AnyRow], out: Cancelled, now: datetime) -> list[End]:
    if not rows:
        return []
    out.attempts += [(row.executor, f"{row.job}.{row.number}.{row.ordinal}") for row in rows]
    ends = [{"j": row.job, "n": row.number, "o": row.ordinal, "was": TaskState.RUNNING, "at": now} for row in rows]
    bulk.execute(tx, _END_TASK, ends)
    bulk.execute(tx, _END_ATTEMPT, ends)
    return [End(row.job, row.number, row.step, TaskState.CANCELLED, item=bool(row.item)) for row in rows]


def _cancel_task(tx: Connection, ref: Reference, now: datetime) -> Cancelled:
    out = Cancelled()
    endings.of_job(tx, ref.job, ref.number, now)
    running = tx.execute(_ONE_RUNNING, {"j": ref.job, "n": ref.number}).all()
    ends = _end_running(tx, running, out, now) or [_end_waiting(tx, ref, now)]
    out.tasks = len(ends)
    out.changed.join(account(tx, ends, now))
    return out


def _end_early(tx: Connection, ref: Reference, now: datetime) -> End:
    """A task of an array gets its row when it is handed out, or here."""
    step = tx.execute(_STEP, {"j": ref.job, "n": ref.number}).one_or_none()
    if step is None:
        raise NotFound(f"job {ref.job} has no task {ref.number}", remedy=f"see `farm show {ref.job}`")
    if step.state == "ended":
        raise Conflict(f"task {ref} was skipped already, for something before it did not succeed")
    if step.next == step.total:  # a whole job that was cancelled, of which another task goes again
        raise Conflict(f"task {ref} is cancelled already")
    end = early.cancel(tx, step, ref.number or 0, now)
    if end is None:
        raise Conflict(f"task {ref} is just being handed out", remedy="cancel it again")
    return end


def _end_waiting(tx: Connection, ref: Reference, now: datetime) -> End:
    task = tx.execute(_TASK, {"j": ref.job, "n": ref.number}).one_or_none()
    if task is None:
        return _end_early(tx, ref, now)
    if task.state in ENDED:
        raise Conflict(f"task {ref} is {task.state} already")
    tx.execute(_END_TASK, {"j": ref.job, "n": ref.number, "was": task.state, "at": now})
    return End(task.job, task.number, task.step, TaskState.CANCELLED, False, item=task.params is not None)
