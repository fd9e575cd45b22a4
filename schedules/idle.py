"""Who may go: executors that are empty and that nothing needs, longest idle first; those above a ceiling, gently."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from schedules.demand import Row
from schedules.gaps import bucket
from schedules.model import Drain, Executor, Pool, Retire
from schedules.windows import OpenHours
from schedules.words import clock, length, plural

SHORTEST_IDLE = timedelta(seconds=3)


def patience(pool: Pool, hours: OpenHours, level: int = 0) -> timedelta:
    """T: how long an idle executor of the pool is kept: a new boot's price and as much again as waiting is worth (ski
    rental), or less where it was learned that at this `level` it is mostly needed again only later."""
    if hours.idle is not None:
        return hours.idle
    if pool.kept and level:
        return pool.kept[bucket(level)]
    return max(SHORTEST_IDLE, pool.boots_kept * pool.boot)


def leaves_at(e: Executor, pool: Pool, hours: OpenHours, level: int = 0) -> datetime:
    """When an empty executor that nothing needs may go: after T of idling, or at once while it boots; in both cases
    not inside the paid minimum."""
    paid = e.since + pool.min_bill
    return max(paid, idle_since(e, pool) + patience(pool, hours, level)) if e.state == "ready" else paid


def idle_since(e: Executor, pool: Pool) -> datetime:
    return e.idle_since or e.since + pool.boot


def useful(executors: Iterable[Executor], rows: Sequence[Row]) -> set[str]:
    """Executors with a place for something that waits, a place for each task: most recently busy, then booting ones."""
    left = Counter[int]()
    for row in rows:
        left[row.slots] += row.count
    sizes, found = sorted(left, reverse=True), set[str]()
    for e in sorted((e for e in executors if e.state != "draining"), key=_handiness):
        free = room = e.slots - e.busy_slots
        for slots in sizes:
            taken = min(left[slots], free // slots)
            left[slots] -= taken
            free -= taken * slots
        if free < room:
            found.add(e.id)
    return found


def _handiness(e: Executor) -> tuple[int, float, str]:
    if e.state != "ready":
        return 1, e.since.timestamp(), e.id
    return 0, -e.idle_since.timestamp() if e.idle_since else 0.0, e.id


def levels(executors: Iterable[Executor]) -> dict[str, int]:
    """Of each idle executor for how many there would be work were it at work: the last one busy is needed next."""
    there = [e for e in executors if e.state != "draining"]
    idle = [e for e in there if e.state == "ready" and not e.busy_slots]
    first = len(there) - len(idle) + 1
    return {e.id: first + place for place, e in enumerate(sorted(idle, key=_handiness))}


def spare(pool: Pool, hours: OpenHours, executors: Sequence[Executor], needed: Collection[str]) -> list[Executor]:
    """The pool's empty executors above its floor that nothing needs: booting ones, then longest idle first."""
    mine = [e for e in executors if e.pool == pool.name and e.state != "draining"]
    empty = [e for e in mine if not e.busy_slots and e.id not in needed]
    empty.sort(key=lambda e: (e.state == "ready", idle_since(e, pool), e.id))
    return empty[: max(0, len(mine) - hours.floor)]


def retire(e: Executor, pool: Pool, hours: OpenHours, now: datetime, level: int = 0) -> Retire:
    if e.state != "ready":
        return Retire(e.id, f"nothing needs it any more before it is there; ordered at {clock(e.since)}")
    idle, keep = length(now - idle_since(e, pool)), length(patience(pool, hours, level))
    rule = f"window {hours.of('idle')}" if hours.of("idle") else f"pool {pool.name}"
    return Retire(e.id, f"idle for {idle}, {rule} keeps an idle executor {keep}; nothing waits for it")


def leave(pool: Pool, executors: Iterable[Executor]) -> list[Retire | Drain]:
    """All of a pool that a person closed: empty ones at once, the others when their work ends."""
    mine = sorted((e for e in executors if e.pool == pool.name and e.state != "draining"), key=lambda e: e.id)
    return [Drain(e.id, pool.closed_why) if e.busy_slots else Retire(e.id, pool.closed_why) for e in mine]


def above_ceiling(pool: Pool, hours: OpenHours, executors: Iterable[Executor]) -> list[Retire | Drain]:
    """Booting and empty ones go, then those with least to do get no more work, until the rest fits the ceiling."""
    mine = [e for e in executors if e.pool == pool.name and e.state != "draining"]
    total, found = sum(e.slots for e in mine), list[Retire | Drain]()
    if total > hours.ceiling:
        mine.sort(key=lambda e: (e.busy_slots, e.state == "ready", idle_since(e, pool), e.id))
    for e in mine:
        if total <= hours.ceiling:
            break
        rule = f"window {hours.of('ceiling')} allows" if hours.of("ceiling") else "it may have"
        why = f"pool {pool.name} has {plural(total, 'slot')}, {rule} {hours.ceiling}"
        found.append(Drain(e.id, why) if e.busy_slots else Retire(e.id, why))
        total -= e.slots
    return found
