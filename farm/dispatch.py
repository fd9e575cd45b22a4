"""Who runs what now: free slots meet the queue, in the transaction that freed or filled either."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, func, select, update

from executors.contract import Work
from farm import tables as t
from farm.model import AttemptState, ExecutorState
from farm.queue.claim import Claim, Room
from farm.queue.settle import Settled
from schedules.model import Lane

AHEAD_S = 0.4  # work that an executor may have waiting behind each slot, so that it never waits for us
DEEPEST = 256  # tasks behind a slot, however short
_FORGET = 0.2

_ACTIVE = (AttemptState.CLAIMED, AttemptState.STARTED)
_ROOMS = (
    select(
        t.Executor.id,
        t.Executor.slots,
        select(func.coalesce(func.sum(t.Attempt.slots), 0))
        .where(t.Attempt.executor == t.Executor.id, t.Attempt.finished.is_(None))
        .scalar_subquery()
        .label("taken"),
    )
    .where(t.Executor.state == ExecutorState.READY)
    .order_by(t.Executor.idle_since.is_not(None), t.Executor.idle_since.desc(), t.Executor.id)
)
_BUSY = (
    update(t.Executor)
    .where(t.Executor.id.in_(bindparam("ids", expanding=True)), t.Executor.idle_since.is_not(None))
    .values(idle_since=None)
)
_IDLE = (
    update(t.Executor)
    .where(t.Executor.state.in_([ExecutorState.READY, ExecutorState.DRAINING]), t.Executor.idle_since.is_(None))
    .where(~exists().where(t.Attempt.executor == t.Executor.id, t.Attempt.finished.is_(None)))
    .values(idle_since=bindparam("at"))
)


@dataclass(slots=True)
class Dispatcher:
    """Knows how short the running steps' tasks are; everything else is in the database."""

    lanes: Mapping[str, Lane]
    term: int
    closing: bool = False  # the farm drains: nothing more is handed out
    most_memory: int = 0  # bytes of the largest executor of any pool; 0 is unknown
    _mean_s: dict[tuple[int, int], float] = field(default_factory=dict)

    def assign(self, tx: Connection, now: datetime) -> Mapping[str, list[Work]]:
        """Claim for every executor with room, most recently busy first; the works to hand out once committed."""
        if self.closing:
            return {}
        rooms = [Room(r.id, r.slots, int(r.taken)) for r in tx.execute(_ROOMS)]
        if not rooms:
            return {}
        works = Claim(tx, self.lanes, self.term, now).fill(rooms, self._depths())
        if works:
            tx.execute(_BUSY, {"ids": list(works)})
        return works

    def learn(self, settled: Settled) -> None:
        """How long the tasks of a step took just now decides how many may wait at an executor."""
        for key, took in settled.seconds.items():
            mean = sum(took) / len(took)
            old = self._mean_s.get(key)
            self._mean_s[key] = mean if old is None else old + _FORGET * (mean - old)
        for job in settled.changed.ended:
            for key in [k for k in self._mean_s if k[0] == job]:
                del self._mean_s[key]

    def _depths(self) -> dict[tuple[int, int], int]:
        return {key: min(DEEPEST, int(AHEAD_S / max(mean, 1e-6))) for key, mean in self._mean_s.items()}


def rest(tx: Connection, now: datetime) -> int:
    """Executors that have nothing to do are idle from now; how many are so newly."""
    return tx.execute(_IDLE, {"at": now}).rowcount
