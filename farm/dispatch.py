"""Who runs what now: free slots meet the queue, in the transaction that freed or filled either."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, or_, update

from farm import tables as t
from farm.gathered import gathered
from farm.model import ExecutorState
from farm.queue.claim import Claim
from farm.queue.handed import Handed, Portion
from farm.queue.needs import held_of
from farm.queue.room import Kept, Room
from farm.queue.settle import Settled
from schedules.model import Lane, Licence, Window
from schedules.reserve import Allowed
from schedules.windows import closed_lanes

AHEAD_S = 0.5  # work that an executor may have waiting behind each slot, so that it never waits for us
DEEPEST = 600  # tasks behind a slot, however short
MOST, HELPINGS = 400, 64  # tasks that are handed out in one decision, and executors and owners that they are for
_FORGET = 0.2
STEPS = 1000  # whose tasks' length is known; that of the others is learned again

_ROOMS = f"""
SELECT id, slots, offer, idle_since FROM executor WHERE state = '{ExecutorState.READY}'
ORDER BY idle_since IS NOT NULL, idle_since DESC, id"""
_TAKEN = f"""
SELECT attempt.executor AS executor, attempt.job AS job, attempt.step AS step, sum(attempt.slots) AS slots
FROM attempt JOIN executor ON executor.id = attempt.executor
WHERE executor.state = '{ExecutorState.READY}' AND attempt.finished IS NULL
GROUP BY attempt.executor, attempt.job, attempt.step"""
_BUSY = (
    update(t.Executor)
    .where(t.Executor.id.in_(bindparam("ids", expanding=True)), t.Executor.idle_since.is_not(None))
    .values(idle_since=None)
)
_IDLE = (
    update(t.Executor)
    .where(or_(t.Executor.state == ExecutorState.READY, t.Executor.state == ExecutorState.DRAINING))
    .where(t.Executor.idle_since.is_(None))
    .where(~exists().where(t.Attempt.executor == t.Executor.id, t.Attempt.finished.is_(None)))
    .values(idle_since=bindparam("at"))
)


@dataclass(slots=True)
class Dispatcher:
    """Knows how short the running steps' tasks are; everything else is in the database."""

    lanes: Mapping[str, Lane]
    term: int
    closing: bool = False  # the farm drains: nothing more is handed out
    owners: Mapping[str, float] = field(default_factory=dict)  # weights of those whose is not 1
    licences: Mapping[str, Licence] = field(default_factory=dict)
    windows: Sequence[Window] = ()
    allowed: Allowed | None = None  # what lanes that leave slots to others may have, as the wheel saw it last
    most_memory: int = 0  # bytes of the largest executor of any pool; 0 is unknown
    cut: bool = False  # the last decision was: another one is due at once
    _mean_s: dict[tuple[int, int], float] = field(default_factory=dict)

    def assign(self, tx: Connection, now: datetime) -> Mapping[str, Handed]:
        """Claim for every executor with room, most recently busy first; the works to hand out once committed."""
        self.cut = False
        if self.closing:
            return {}
        depths = self._depths()
        rooms = _rooms(tx, depths)
        if not rooms:
            return {}
        claim = Claim(tx, self.lanes, self.term, now, self.owners, self.licences, self.allowed)
        claim.portion, claim.closed = Portion(MOST, HELPINGS), closed_lanes(self.windows, self.lanes, now)
        works = claim.fill(rooms, depths)
        self.cut = claim.portion.cut
        if begun := [room.executor for room in rooms if room.idle and room.executor in works]:
            tx.execute(_BUSY, {"ids": begun})
        return works

    def learn(self, settled: Settled) -> None:
        """How long the tasks of a step took just now decides how many may wait at an executor."""
        for key, took in settled.seconds.items():
            mean = sum(took) / len(took)
            old = self._mean_s.pop(key, None)
            self._mean_s[key] = mean if old is None else old + _FORGET * (mean - old)
        while len(self._mean_s) > STEPS:  # those of cancelled jobs, and what has not ended for longest
            del self._mean_s[next(iter(self._mean_s))]
        for job in settled.changed.ended:
            for key in [k for k in self._mean_s if k[0] == job]:
                del self._mean_s[key]

    def _depths(self) -> dict[tuple[int, int], int]:
        found = {key: min(DEEPEST, int(AHEAD_S / max(mean, 1e-6))) for key, mean in self._mean_s.items()}
        return {key: depth for key, depth in found.items() if depth}


def kept(
    tx: Connection,
    lanes: Mapping[str, Lane],
    owners: Mapping[str, float],
    licences: Mapping[str, Licence],
    now: datetime,
    allowed: Allowed | None = None,
    closed: Collection[str] = (),
) -> list[Kept]:
    """Executors of which some slots are free and kept for a task that needs more of them at once."""
    rooms = _rooms(tx, {})
    if not any(room.taken < room.slots and room.slots > 1 for room in rooms):
        return []
    claim = Claim(tx, lanes, 0, now, owners, licences, allowed)
    claim.closed = closed
    return list(claim.kept(rooms))


def _rooms(tx: Connection, depths: Mapping[tuple[int, int], int]) -> list[Room]:
    """Executors that take work, most recently busy first, and what they have."""
    rooms = {row[0]: _room(*row) for row in gathered(tx, "id, slots, offer, idle_since", _ROOMS)}
    if rooms:
        for executor, job, step, slots in gathered(tx, "executor, job, step, slots", _TAKEN):
            rooms[executor].take(slots, depths.get((job, step), 0))
    return list(rooms.values())


def _room(executor: str, slots: int, offer: str, idle_since: int | None) -> Room:
    held = held_of(offer)
    return Room(executor, slots, 0, offer=held.offer, gpus=list(held.gpus), idle=idle_since is not None)


def rest(tx: Connection, now: datetime) -> int:
    """Executors that have nothing to do are idle from now; how many are so newly."""
    return tx.execute(_IDLE, {"at": now}).rowcount
