"""Other priority, deadline or lane for a job: all of it that has not ended moves to its new place in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, select, type_coerce, update
from sqlalchemy import text as sql

from farm import tables as t
from farm.clock import micros
from farm.model import TaskState
from farm.queue import running
from farm.queue.due import Stage, Wish, dues
from farm.queue.hold import open_job
from farm.refusal import Conflict, Refusal
from farm.tables import AnyRow
from farm.wording import nearest
from schedules.model import Lane

_JOB = select(t.Job).where(t.Job.id == bindparam("j"))
_STEPS = select(t.Step).where(t.Step.job == bindparam("j")).order_by(t.Step.ordinal)
_SET = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"))
    .values(priority=bindparam("p"), deadline=bindparam("d"), lane=bindparam("l"), changes=t.Job.changes + 1)
)
_MOVE_STEP = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))
    .values(lane=bindparam("l"), due=bindparam("due"))
)
_MOVE_TASKS = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.step == bindparam("o"))
    .values(lane=bindparam("l"), due=type_coerce(t.Task.due, BigInteger) + bindparam("later", type_=BigInteger))
)
_MOVE_WAITING = _MOVE_TASKS.where(sql(t.TASK_OPEN))
_MOVE_RUNNING = _MOVE_TASKS.where(t.Task.number.in_(running.NUMBERS), t.Task.state == TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is to be otherwise; `deadline_off` takes the deadline away."""

    priority: int | None = None
    lane: str | None = None
    deadline: datetime | None = None
    deadline_off: bool = False


def change(tx: Connection, job: int, new: Setting, lanes: Mapping[str, Lane], now: datetime) -> dict[str, list[Any]]:
    """Name → [before, after] of what is otherwise now. Raises NotFound, Conflict, Refusal."""
    open_job(tx, job)
    row = tx.execute(_JOB, {"j": job}).one()
    wish = _wish(row, new, lanes, now)
    after = {"priority": wish.priority, "lane": wish.lane.name, "deadline": _said(wish.deadline)}
    before = {"priority": row.priority, "lane": row.lane, "deadline": _said(row.deadline)}
    changed = {name: [before[name], value] for name, value in after.items() if value != before[name]}
    if not changed:
        raise Conflict(f"job {job} is so already", remedy=f"see `farm show {job}`")
    tx.execute(_SET, {"j": job, "p": wish.priority, "d": wish.deadline, "l": wish.lane.name})
    _move(tx, row, wish)
    return changed


def _wish(row: AnyRow, new: Setting, lanes: Mapping[str, Lane], now: datetime) -> Wish:
    lane = row.lane if new.lane is None else new.lane
    if lane not in lanes and new.lane is not None:
        raise Refusal(f"there is no lane {lane!r}", "--lane", nearest(lane, lanes))
    if new.deadline is not None and new.deadline <= now:
        raise Refusal(f"the deadline {_said(new.deadline)} is over", "--deadline", "name a time that is still to come")
    deadline = None if new.deadline_off else new.deadline or row.deadline
    priority = row.priority if new.priority is None else new.priority
    return Wish(lanes.get(lane, Lane(lane)), priority, deadline)


def _move(tx: Connection, row: AnyRow, wish: Wish) -> None:
    steps = tx.execute(_STEPS, {"j": row.id}).all()
    stages = [Stage(step.name, step.template.get("after", ()), step.predicted_s) for step in steps]
    for step, due in zip(steps, dues(stages, wish, row.submitted), strict=True):
        place = {"j": row.id, "o": step.ordinal, "l": wish.lane.name, "due": due}
        tx.execute(_MOVE_STEP, place)
        later = {"later": micros(due) - micros(step.due)}
        tx.execute(_MOVE_WAITING, place | later)
        tx.execute(_MOVE_RUNNING, place | later)


def _said(deadline: datetime | None) -> str | None:
    return deadline.isoformat(timespec="seconds") if deadline else None
