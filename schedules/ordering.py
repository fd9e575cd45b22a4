"""Who comes next: due dates inside a lane, fair turns between lanes, what goes first of tasks that need each other, the
order of an array's positions. docs/ordering.md tells it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from typing import Literal

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


def overtakes_within(late: Lane, short: timedelta, early: Lane, long: timedelta, points: int = 0) -> timedelta:
    """How long after a task of length `long` one of length `short`, with `points` more priority, may arrive and still
    start before it; below zero: never. Both of one owner, who is served in the order of due dates."""
    most = max(-2 * PRIORITY_LIMIT, min(2 * PRIORITY_LIMIT, points))
    return wait_target(early, long) - wait_target(late, short) + most * PRIORITY_STEP


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


@dataclass(frozen=True, slots=True)
class Rival:
    """Who shares a lane, or a lane that shares the farm: its weight and the slot-seconds of its longest task."""

    weight: float
    longest: float


def given_before(ahead: float, mine: Rival, rivals: Iterable[Rival]) -> float:
    """The most slot-seconds that are handed out before a task starts that has `ahead` of its own owner before it.

    That and its rivals' part of as much, each up to a longest task of both beyond its share. Asked first of the owners
    of a lane, then with the answer as `ahead` of the lanes: on n slots that are never idle, no task waits longer than
    the n-th part of that and the longest task that ran when it came.
    """
    each = (ahead + mine.longest) / mine.weight
    return ahead + sum(each * rival.weight + rival.longest for rival in rivals)


Half = Literal["path", "short"]


def half(path: int, short: int) -> Half:
    """Which half of a campaign a free slot is for, given the slots that each has now."""
    return "path" if path <= short else "short"


def paths(lengths: Mapping[str, float], after: Mapping[str, Collection[str]]) -> dict[str, float]:
    """Of each task how long it and the longest chain of those that come after it take, were nothing to wait.

    Raises graphlib.CycleError.
    """
    behind = dict.fromkeys(lengths, 0.0)
    found: dict[str, float] = {}
    for name in reversed([*TopologicalSorter({name: after.get(name, ()) for name in lengths}).static_order()]):
        found[name] = lengths[name] + behind[name]
        for before in after.get(name, ()):
            behind[before] = max(behind[before], found[name])
    return found


def first_ready(ready: Sequence[str], turn: Half, lengths: Mapping[str, float], path: Mapping[str, float]) -> str:
    """The longest remaining path, or the shortest task; among equals the one with more behind it, then the first."""
    if turn == "path":
        return max(ready, key=lambda name: path[name])
    return min(ready, key=lambda name: (lengths[name], -path[name]))


PATH_STEP = timedelta(microseconds=1)  # for a tenth of a second: a month of path is 26 s


def along_path(step_due: datetime, path_s: float | None) -> datetime:
    """The due date of a task of a campaign: earlier than its step's by so little that only tasks that are due together
    are put in order by it, the longest remaining path first."""
    return step_due - round(10 * (path_s or 0.0)) * PATH_STEP


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
