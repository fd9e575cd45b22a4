"""A job that is held hands nothing more out. Its rows are marked, so that they leave the indexes of what waits."""

from sqlalchemy import Connection, bindparam, case, select, update
from sqlalchemy import text as sql

from farm import tables as t
from farm.model import JobState, TaskState
from farm.queue import running
from farm.refusal import Conflict, NotFound
from farm.tables import AnyRow

_JOB = select(t.Job.id, t.Job.state, t.Job.running).where(t.Job.id == bindparam("j"))
_HOLD = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"), t.Job.state.in_([JobState.QUEUED, JobState.RUNNING]))
    .values(state=JobState.HELD, changes=t.Job.changes + 1)
)
_RELEASE = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"), t.Job.state == JobState.HELD)
    .values(
        state=case((t.Job.running > 0, JobState.RUNNING), else_=JobState.QUEUED),
        changes=t.Job.changes + 1,
    )
)
_STEPS = update(t.Step).where(t.Step.job == bindparam("j"), t.Step.state != "ended").values(held=bindparam("h"))
_TASKS = update(t.Task).where(t.Task.job == bindparam("j")).values(held=bindparam("h"))
_WAITING = _TASKS.where(sql(t.TASK_OPEN))
_RUNNING = _TASKS.where(t.Task.number.in_(running.NUMBERS), t.Task.state == TaskState.RUNNING)


def open_job(tx: Connection, job: int) -> AnyRow:
    """Raises NotFound, Conflict when it has ended."""
    row = tx.execute(_JOB, {"j": job}).one_or_none()
    if row is None:
        raise NotFound(f"there is no job {job}", remedy="see `farm jobs`")
    if row.state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED):
        raise Conflict(f"job {job} is {row.state} already")
    return row


def hold(tx: Connection, job: int) -> int:
    """How many of its tasks still run, to their end. Raises NotFound, Conflict."""
    row = open_job(tx, job)
    if not tx.execute(_HOLD, {"j": job}).rowcount:
        raise Conflict(f"job {job} is held already", remedy=f"see `farm why {job}`")
    _mark(tx, job, 1)
    return int(row.running)


def release(tx: Connection, job: int) -> None:
    """Raises NotFound, Conflict."""
    open_job(tx, job)
    if not tx.execute(_RELEASE, {"j": job}).rowcount:
        raise Conflict(f"job {job} is not held", remedy="`farm acts` lists what is")
    _mark(tx, job, 0)


def _mark(tx: Connection, job: int, held: int) -> None:
    tx.execute(_STEPS, {"j": job, "h": held})
    tx.execute(_WAITING, {"j": job, "h": held})
    tx.execute(_RUNNING, {"j": job, "h": held})
