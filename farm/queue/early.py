"""Tasks of an array that were cancelled before their turn: they have a row, and are passed over when it comes."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from farm import tables as t
from farm.model import TaskState
from farm.queue import template
from farm.queue.progress import End
from farm.tables import AnyRow
from schedules.ordering import ends_first

_FIRST = 3  # of an array that begins with its ends: the two ends and the middle
_ROWS = select(t.Task.position).where(
    t.Task.job == bindparam("j"), t.Task.number >= bindparam("low"), t.Task.number < bindparam("high")
)
_MORE = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"), t.Step.state != "ended")
    .where(t.Step.next == bindparam("was"), t.Step.early == bindparam("had"))
    .values(early=t.Step.early + 1)
)
_INSERT = insert(t.Task)


def position(step: AnyRow, k: int) -> int:
    """Where the k-th task that is handed out stands in the array."""
    return ends_first(k, step.total) if step.order == "ends-first" else k


def positions(tx: Connection, step: AnyRow) -> Collection[int]:
    """Those whose turn has not come and that have a row."""
    handed_out = {position(step, k) for k in range(min(step.next, _FIRST))}
    low = position(step, step.next) if step.order != "ends-first" or step.next >= _FIRST else 0
    about = {"j": step.job, "low": step.first_number + low, "high": step.first_number + step.total}
    return set(tx.execute(_ROWS, about).scalars()) - (handed_out if step.order == "ends-first" else set())


def cancel(tx: Connection, step: AnyRow, number: int, now: datetime) -> End | None:
    """Cancel a task that has no row; None when the queue moved meanwhile."""
    about = {"j": step.job, "o": step.ordinal, "was": step.next, "had": step.early}
    if not tx.execute(_MORE, about).rowcount:
        return None
    place = number - step.first_number
    row = {name: getattr(step, name) for name in ("job", "lane", "owner", "slots", "needs", "due", "held")}
    row |= {"number": number, "step": step.ordinal, "position": place, "name": template.name(step, place)}
    tx.execute(_INSERT, row | {"state": TaskState.CANCELLED, "cause": "cancelled", "finished": now})
    return End(step.job, number, step.ordinal, TaskState.CANCELLED, was_running=False)
