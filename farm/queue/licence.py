"""Licences that running tasks hold, from the database."""

from collections.abc import Mapping

from sqlalchemy import Connection, and_, select

from farm import tables as t
from farm.model import ExecutorState
from farm.queue import endings
from schedules.licences import Uses
from schedules.model import Licence

_LOOK = 1000
_ALIVE = (ExecutorState.BOOTING, ExecutorState.READY, ExecutorState.DRAINING)
_RUNNING = (
    select(t.Attempt.executor, t.Attempt.job, t.Step.licences)
    .join(t.Step, and_(t.Step.job == t.Attempt.job, t.Step.ordinal == t.Attempt.step))
    .where(t.Attempt.executor.in_(select(t.Executor.id).where(t.Executor.state.in_(_ALIVE))))
    .where(t.Attempt.finished.is_(None), t.Step.licences.is_not(None))
)


def uses(tx: Connection, known: Mapping[str, Licence]) -> Uses:
    """What is in use now on all executors."""
    found = Uses(known)
    for row in (*tx.execute(_RUNNING), *endings.licensed(tx)):
        found.take(row.licences, row.executor)
    return found


def holders(tx: Connection, name: str, most: int) -> list[int]:
    """Jobs whose tasks hold it, the oldest first."""
    rows = (*tx.execute(_RUNNING), *endings.licensed(tx))
    return sorted({row.job for row in rows if name in row.licences})[:most]


class Licences:
    """What one claim may still hand out. Nothing is asked before somebody needs one."""

    def __init__(self, tx: Connection, known: Mapping[str, Licence]) -> None:
        self._tx, self._known = tx, known
        self._uses: Uses | None = None
        self.more = _LOOK if known else 0  # candidates to look at beyond those that wait for a licence

    @property
    def now(self) -> Uses:
        if self._uses is None:
            self._uses = uses(self._tx, self._known)
        return self._uses
