"""Forward simulation: which waiting tasks find a slot in time, in closed form for any number of like tasks."""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from math import inf
from operator import attrgetter
from typing import NamedTuple

from schedules.demand import Row, finishes, finishes_of, micro
from schedules.model import Executor, Pool, Snapshot


class Room(NamedTuple):
    """`copies` groups of `slots` slots, each on one executor, free `at` µs from now.

    certain: idle, booting or ordered; it satisfies one need whatever that need's limit. Else only expected.
    """

    at: int
    slots: int
    copies: int
    certain: bool


_at = attrgetter("at")


def rooms(seen: Snapshot, executors: Sequence[Executor]) -> list[Room]:
    """The slots of these executors that are idle or on their way, and those expected back from running attempts."""
    pools = {pool.name: pool for pool in seen.pools}
    open_ones = [e for e in executors if not e.kept]
    sure = (found for e in open_ones if (found := _certain(e, pools, seen)))
    wide = (room for e in executors if e.kept for room in _kept(e, seen))
    return merged([*sure, *wide, *(Room(at, slots, 1, False) for at, slots in finishes(seen, open_ones))])


def _kept(e: Executor, seen: Snapshot) -> list[Room]:
    """An executor that drains for a wide task: as many slots at once as that needs, and those that come back later."""
    left, at = e.kept - (e.slots - e.busy_slots), 0
    ends = sorted(finishes_of(seen, e))
    while left > 0 and ends:
        at, slots = ends.pop(0)
        left -= slots
    return [] if left > 0 else [Room(at, e.kept, 1, False), *(Room(at, slots, 1, False) for at, slots in ends)]


def _certain(e: Executor, pools: dict[str, Pool], seen: Snapshot) -> Room | None:
    free = e.slots - e.busy_slots - e.aside
    if free <= 0 or e.state == "draining":
        return None
    if e.state == "ready":
        return Room(0, free, 1, True)
    pool = pools.get(e.pool)
    if pool is None or late(e, pool, seen.now):
        return None
    return Room(max(0, micro(e.since + pool.boot - seen.now)), free, 1, True)


def late(e: Executor, pool: Pool, now: datetime) -> bool:
    """Whether it boots for so long that it is no longer relied upon: another may be ordered, whichever comes first."""
    return e.state in ("ordered", "booting") and e.since + max(pool.boot, pool.boot_p95) <= now


def merged(found: Iterable[Room]) -> list[Room]:
    """Like rooms as one, earliest first."""
    copies = dict[tuple[int, int, bool], int]()
    for at, slots, times, certain in found:
        copies[at, slots, certain] = copies.get((at, slots, certain), 0) + times
    return sorted(Room(at, slots, times, certain) for (at, slots, certain), times in copies.items() if slots and times)


def free(found: Iterable[Room], until: int) -> int:
    """Slots free up to then."""
    return sum(room.slots * room.copies for room in found if room.at <= until)


def take(found: Sequence[Room], row: Row, until: int) -> tuple[list[Room], int]:
    """Start the row's tasks as early as possible on these rooms. The rooms afterwards, and how many tasks found none.

    Slots free by `until` take as many tasks one after the other as start by then; a certain later one takes one.
    """
    edge = bisect_right(found, until, key=_at)
    level, reach = _water(found[:edge], row)
    if level <= until:
        return _put(_spread(found[:reach], row, int(level)), found[reach:]), 0
    fits = [(until - room.at) // row.predicted + 1 for room in found[:edge]]
    ability = sum(_units(room, row) * each for room, each in zip(found, fits, strict=False))
    if ability >= row.count:
        return _put(_spread(found[:edge], row, int(level)), found[edge:]), 0
    full = [left for room, each in zip(found, fits, strict=False) for left in _used(room, row, each, 0)]
    late, left = _late(found[edge:], row, row.count - ability)
    return _put(merged(full), late), left


def _put(changed: Sequence[Room], rest: Sequence[Room]) -> list[Room]:
    """Both, earliest first; `rest` is so already, and long."""
    after = [*rest]
    if len(changed) > 8:
        return sorted([*changed, *after])
    for room in changed:
        insort(after, room)
    return after


def _units(room: Room, row: Row) -> int:
    return room.slots // row.slots * room.copies


def _late(found: Sequence[Room], row: Row, left: int) -> tuple[list[Room], int]:
    """One task for each certain slot that comes after the limit: it was ordered for such a need."""
    used, parts = set[int](), list[Room]()
    for place in [place for place, room in enumerate(found) if room.certain]:
        given = min(left, _units(found[place], row))
        if not left:
            break
        if given:
            used.add(place)
            parts.extend(_used(found[place], row, 0, given))
            left -= given
    rest = [room for place, room in enumerate(found) if place not in used] if used else found
    return _put(parts, rest), left


def _spread(found: Sequence[Room], row: Row, level: int) -> list[Room]:
    """List scheduling of like tasks: every slot is filled up to one level, the last tasks go where they start first."""
    each = [max(0, (level - room.at) // row.predicted) for room in found]
    left = row.count - sum(_units(room, row) * tasks for room, tasks in zip(found, each, strict=True))
    after = list[Room]()
    for room, tasks in sorted(zip(found, each, strict=True), key=lambda pair: pair[0].at + pair[1] * row.predicted):
        given = min(left, _units(room, row))
        after.extend(_used(room, row, tasks, given))
        left -= given
    return merged(after)


def _water(found: Sequence[Room], row: Row) -> tuple[float, int]:
    """The instant up to which the slots, free from their `at` on, hold as much work as the row is: no start is later.

    And how many of the rooms that concerns. Without a slot that fits: infinity.
    """
    units, starts, level = 0, 0, inf
    for place, room in enumerate(found):
        if level <= room.at:
            return level, place
        units += _units(room, row)
        starts += _units(room, row) * room.at
        level = (row.count * row.predicted + starts) // units if units else inf
    return level, len(found)


def _used(room: Room, row: Row, each: int, more: int) -> list[Room]:
    """The room after every unit ran `each` tasks and `more` of them another; slots used alike stay together."""
    per = room.slots // row.slots
    if not per:
        return [room]
    rest = room.slots - per * row.slots
    if not more:
        return _parts(room, row, each, per, rest, room.copies)
    full, part = divmod(more, per)
    split = 1 if part else 0
    return [
        *_parts(room, row, each + 1, per, rest, full),
        *_parts(room, row, each + 1, part, 0, split),
        *_parts(room, row, each, per - part, rest, split),
        *_parts(room, row, each, per, rest, room.copies - full - split),
    ]


def _parts(room: Room, row: Row, tasks: int, units: int, rest: int, copies: int) -> list[Room]:
    """`copies` groups of `units` units that ran `tasks` tasks, and the slots of the same executors left over."""
    if not copies:
        return []
    used = units * row.slots
    if not tasks:
        return [Room(room.at, used + rest, copies, room.certain)]
    return [Room(room.at + tasks * row.predicted, used, copies, False), Room(room.at, rest, copies, room.certain)]
