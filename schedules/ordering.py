"""Who comes next: due dates inside a lane, fair turns between lanes, the order of an array's positions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from schedules.model import Lane

PRIORITY_LIMIT = 100
PRIORITY_STEP = timedelta(minutes=6)  # so that ±100 shifts a due date by ten hours at most, and nothing can starve


def wait_target(lane: Lane, predicted: timedelta) -> timedelta:
    """W = clip(alpha · predicted, w_min, w_max): how long a task of this length may wait in this lane."""
    return max(lane.w_min, min(lane.alpha * predicted, max(lane.w_min, lane.w_max)))


def due(arrival: datetime, predicted: timedelta, lane: Lane, priority: int = 0) -> datetime:
    """When a task should have started: arrival + W, earlier by PRIORITY_STEP for each point of priority (±100).

    The shift is bounded, so a task is overtaken only by tasks that arrive at most 2 · 100 · PRIORITY_STEP + W after it.
    """
    points = max(-PRIORITY_LIMIT, min(PRIORITY_LIMIT, priority))
    return arrival + wait_target(lane, predicted) - points * PRIORITY_STEP


@dataclass(frozen=True, slots=True)
class Turn:
    """A lane that has work: its virtual time in predicted slot-seconds per weight."""

    lane: str
    virtual: float
    weight: float = 1.0


def next_lane(turns: Iterable[Turn]) -> str | None:
    """The lane whose turn it is by start-time fair queueing: least virtual time, then greatest weight, then name."""
    first = min(turns, key=lambda turn: (turn.virtual, -turn.weight, turn.lane), default=None)
    return first.lane if first else None


def charge(turn: Turn, predicted: timedelta, slots: int = 1) -> float:
    """The lane's virtual time after it was given one task."""
    return turn.virtual + predicted.total_seconds() * slots / turn.weight


def wake(virtual: float, others: Iterable[Turn]) -> float:
    """The virtual time of a lane that gets work again: it may not cash in the time in which it asked for nothing."""
    return max(virtual, min((turn.virtual for turn in others), default=virtual))


def linear(position: int, n: int) -> int:
    """The k-th task started is the k-th of the range. 0 ≤ position < n."""
    _check(position, n)
    return position


def ends_first(position: int, n: int) -> int:
    """The place in a range of n of the k-th task started: first, middle, last, then the rest in order. A bijection."""
    _check(position, n)
    middle, last = (n - 1) // 2, n - 1
    if n < 3 or position == 0:
        return position
    if position < 3:
        return (middle, last)[position - 1]
    rest = position - 2
    return rest if rest < middle else rest + 1


def _check(position: int, n: int) -> None:
    if not 0 <= position < n:
        raise ValueError(f"there is no position {position} in a range of {n}")
