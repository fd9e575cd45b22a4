"""What waits and what runs, in whole microseconds from now: exact, and quick for a row of a million tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schedules.model import Executor, Snapshot, Waiting

MICROSECOND = timedelta(microseconds=1)
SHORTEST = 1_000  # µs; nothing is so short that any number of it fits into a moment
PACKED_AT_MOST = timedelta(seconds=5) // MICROSECOND


@dataclass(frozen=True, slots=True)
class Row:
    """`count` tasks alike; `due` and `predicted` in µs, `due` from now on."""

    count: int
    due: int
    predicted: int
    slots: int
    who: str


def micro(length: timedelta) -> int:
    return length // MICROSECOND


def rows(seen: Snapshot) -> list[Row]:
    """All that waits for slots alone, earliest due first."""
    plain = (w for d in seen.demand for w in d.waiting if w.count > 0 and not w.amounts and not w.labels)
    return rows_of(plain, seen.now)


def rows_of(waiting: Iterable[Waiting], now: datetime) -> list[Row]:
    """Earliest due first."""
    found = [Row(w.count, micro(w.due - now), max(SHORTEST, micro(w.predicted)), w.slots, w.who) for w in waiting]
    return sorted(found, key=lambda row: (row.due, row.predicted, row.slots, row.count, row.who))


def finishes(seen: Snapshot, executors: Iterable[Executor]) -> Iterable[tuple[int, int]]:
    """(µs from now, slots) of what is expected back from the attempts on these executors, or on none that is named.

    An attempt longer than predicted gives no promise: a wrong prediction must not be renewed for ever. Where more was
    handed out than there are slots (short tasks wait behind each other), the slots are back when all of it is done.
    """
    slots = {e.id: e.slots for e in executors if e.state != "draining"}
    held: dict[str, list[tuple[int, int]]] = {}
    for busy in (b for d in seen.demand for b in d.running if b.executor in slots or not b.executor):
        held.setdefault(busy.executor, []).append((micro(busy.predicted_finish - seen.now), busy.slots))
    for name, attempts in held.items():
        promised = [(_coarse(at), size) for at, size in attempts if at > 0]
        room = slots.get(name)
        crowded = room is not None and sum(size for _, size in attempts) > room
        yield from _queued(promised, (room or 0) - len(attempts) + len(promised)) if crowded else promised


def finishes_of(seen: Snapshot, e: Executor) -> Iterable[tuple[int, int]]:
    """The same of one executor."""
    mine = (b for d in seen.demand for b in d.running if b.executor == e.id)
    ends = ((micro(b.predicted_finish - seen.now), b.slots) for b in mine)
    return ((_coarse(at), slots) for at, slots in ends if at > 0)


def _queued(attempts: Sequence[tuple[int, int]], slots: int) -> list[tuple[int, int]]:
    """Single slots, all at once when the work that is handed out would be done on them."""
    work = sum(at * size for at, size in attempts)
    return [(_coarse(work // slots), 1)] * slots if slots > 0 else []


def _coarse(length: int) -> int:
    """Rounded up by 2 % at most: far below what a prediction knows, and thousands of finishes become a few hundred."""
    grain = max(0, length.bit_length() - 7)
    return -(-length >> grain) << grain


def limit(due: int, boot: int) -> int:
    """Until when (µs from now) a start on a slot that is only expected to be free is good enough for a task.

    Before its due date: that date, or what a machine ordered now would reach. After it: the promise made when it fell
    due, which does not move, or else a few seconds, for the tail of a backlog that slipped a little.
    """
    return _limit(due, boot, 2 * slack(boot))


def packed(due: int, boot: int) -> int:
    """The same for the tasks that a new slot is to run one after the other: tighter, so that a slip orders no more."""
    return _limit(due, boot, slack(boot))


def slack(boot: int) -> int:
    """How much short work is packed on a new slot rather than booting one for each task: a tenth of a boot, ≤ 5 s."""
    return min(boot // 10, PACKED_AT_MOST)


def _limit(due: int, boot: int, more: int) -> int:
    return max(due, min(due, 0) + boot + more, more)


def expected_end(start: datetime, predicted: timedelta, now: datetime) -> datetime:
    """When a running task is over. One that outlives its prediction is expected to take as long again, and again.

    `predicted` is above zero.
    """
    late = now - start
    while predicted < late:
        predicted *= 2
    return start + predicted
