"""When something that waits is expected to begin: between the best and the worst that the present backlog allows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from farm import read
from farm.tables import AnyRow
from farm.why.answer import Why, at
from farm.why.cause import Cause
from farm.why.look import Look
from farm.why.needs import could
from schedules.model import Executor, Launch, Pool, Waiting


@dataclass(frozen=True, slots=True)
class Start:
    """`worst` None: nobody can tell."""

    best: datetime
    worst: datetime | None = None


def told(look: Look, step: AnyRow, why: Why, least: datetime | None = None) -> Why:
    """The answer with the interval, where one is known. `least`: it begins no sooner."""
    if why.cause is Cause.BUDGET:  # slots that are free or will be are none to it
        return why
    found = expected(look, step)
    if least is not None:
        found = _later(found, look, least)
    if found is None:
        return why
    sentence = f"{why.sentence} It is expected to begin {_words(found)}."
    return replace(why, sentence=sentence, numbers={**why.numbers, "starts": _shown(found)})


def _words(found: Start) -> str:
    if found.worst is None:
        return f"at {at(found.best)} at the earliest"
    if at(found.worst) == at(found.best):
        return f"at {at(found.best)}"
    return f"between {at(found.best)} and {at(found.worst)}"


def _shown(found: Start) -> list[str | None]:
    return [read.when(found.best), read.when(found.worst)]


def _later(found: Start | None, look: Look, least: datetime) -> Start:
    if found is None:
        return Start(least)
    wait = (found.worst - look.now) if found.worst else None
    return Start(max(least, found.best), max(least, look.now) + wait if wait is not None else None)


def expected(look: Look, step: AnyRow) -> Start | None:
    """At best its turn is next and all goes as predicted; at worst everything that may go before it does, boots take
    what nineteen of twenty take, and what runs takes twice as long as it still should. None without a slot in sight."""
    best = sorted(slot for slot in _slots(look, step, late=False))
    if not best:
        return None
    worst = sorted(slot for slot in _slots(look, step, late=True))
    return Start(best[0], _after(look, step, worst))


def _slots(look: Look, step: AnyRow, *, late: bool) -> Iterator[datetime]:
    """When each place for a task of the step is free: there, on its way, about to be ordered, or coming back."""
    pools = {pool.name: pool for pool in look.seen.pools}
    for e in look.seen.executors:
        if e.state != "draining" and could(step, e):
            yield from _places(look, step, e, pools.get(e.pool), late)
    for launch in (a for a in look.decision.actions if isinstance(a, Launch)):
        there = look.now + _boot(pools[launch.pool], late)
        yield from [there] * (launch.count * (launch.slots // step.slots))


def _places(look: Look, step: AnyRow, e: Executor, pool: Pool | None, late: bool) -> Iterator[datetime]:
    """Of one executor: as soon as so many of its slots are free at once, and again for each time as many more."""
    if e.state in ("ordered", "booting"):
        there = e.since + _boot(pool, late) if pool else look.now
        yield from [max(there, look.now)] * (e.slots // step.slots)
        return
    backs = sorted(_back(look, e, late))
    free = [look.now] * (e.slots - e.busy_slots) + backs[: e.busy_slots]
    yield from free[step.slots - 1 :: step.slots]


def _back(look: Look, e: Executor, late: bool) -> Iterator[datetime]:
    for busy in (b for d in look.seen.demand for b in d.running if b.executor == e.id):
        rest = max(timedelta(), busy.predicted_finish - look.now)
        yield from [look.now + rest * (2 if late else 1)] * busy.slots


def _boot(pool: Pool | None, late: bool) -> timedelta:
    if pool is None:
        return timedelta()
    return max(pool.boot, pool.boot_p95) if late else pool.boot


def _after(look: Look, step: AnyRow, slots: list[datetime]) -> datetime | None:
    """When a place is free after all that may go before was put on them, each slot filled up to one level."""
    ahead = list(_ahead(look, step))
    work = sum((w.predicted * w.count * -(-w.slots // step.slots) for w in ahead), timedelta())
    longest = max((w.predicted for w in ahead), default=timedelta())
    used, total = 0, timedelta()
    for place, slot in enumerate(slots):
        total += slot - look.now
        used = place + 1
        level = look.now + (work + total) / used
        if used == len(slots) or level <= slots[used]:
            return max(level, slots[0]) + longest
    return None


def _ahead(look: Look, step: AnyRow) -> Iterable[Waiting]:
    """Work of its own lane that is due before it, and all of other lanes, whose turns come between."""
    mine = str(step.job)
    return (
        w for d in look.seen.demand for w in d.waiting if w.who != mine and (d.lane != step.lane or w.due <= step.due)
    )
