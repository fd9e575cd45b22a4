"""What waits for amounts and labels: kind by kind, an executor is so many places for such a task as it has room for.

The kinds do not see each other: where two want the same places, the one that got none is seen at the next turn.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce

from schedules.demand import Row, rows_of
from schedules.expansion import Expansion, Source, expand, ordered
from schedules.idle import useful
from schedules.model import Busy, Demand, Drain, Executor, Launch, Retire, Snapshot, Unmet, Waiting
from schedules.needs import Amounts, Needs, more, said, times
from schedules.older import make_way
from schedules.older import said as said_of_older
from schedules.placement import Room, rooms
from schedules.words import plural


def expand_kinds(plan: Expansion, seen: Snapshot, kept: Sequence[Executor], pools: Sequence[Source]) -> Expansion:
    """`plan` is what is ordered for all the rest; with what such tasks need beside it."""
    for needs, waiting in _kinds(seen).items():
        _, left = ordered([], pools, plan.launches)
        found = _expand(needs, waiting, seen, kept, left, plan.launches)
        plan = Expansion((*plan.launches, *found.launches), (*plan.unmet, *found.unmet))
    return plan


def outgrown(seen: Snapshot, pools: Sequence[Source]) -> list[Retire | Drain]:
    """Executors that go for what their pool has since they were ordered, see schedules.older."""
    who = {
        needs: f"job {min(w.who for w in waiting)}, which waits for {words(needs)},"
        for needs, waiting in _kinds(seen).items()
    }
    return make_way(who, pools, seen.executors)


def wanted(seen: Snapshot, kept: Sequence[Executor]) -> set[str]:
    """Executors with a place for something of a kind that waits."""
    found = set[str]()
    there = [replace(e, aside=0) if e.aside else e for e in kept]  # whomever it is kept for, it is wanted
    for needs, waiting in _kinds(seen).items():
        found |= useful(_places(needs, there, _used(seen)), _rows(waiting, seen.now))
    return found


def back_at(needs: Needs, e: Executor, seen: Snapshot) -> datetime | None:
    """When there will be a place for such a task on this executor, as far as that is known."""
    return next((busy.predicted_finish for busy in _back(needs, e, _on(seen).get(e.id, ()))), None)


def used_on(e: Executor, seen: Snapshot) -> Amounts:
    """What of its amounts is in use."""
    return _used(seen).get(e.id, ())


def words(needs: Needs) -> str:
    """`2 slots, gpus=1, arch=arm64`."""
    slots = [plural(needs.slots, "slot")] if needs.slots > 1 else []
    return ", ".join([*slots, *(f"{name}={said(name, n)}" for name, n in needs.amounts), *needs.labels])


def _kinds(seen: Snapshot) -> dict[Needs, list[Waiting]]:
    found: dict[Needs, list[Waiting]] = {}
    for one in (w for d in seen.demand for w in d.waiting if w.count > 0 and (w.amounts or w.labels)):
        found.setdefault(Needs(one.slots, one.amounts, one.labels), []).append(one)
    return found


def _rows(waiting: Iterable[Waiting], now: datetime) -> list[Row]:
    """Each task takes a place."""
    return rows_of([replace(one, slots=1) for one in waiting], now)


def _expand(
    needs: Needs,
    waiting: Sequence[Waiting],
    seen: Snapshot,
    kept: Sequence[Executor],
    pools: Sequence[Source],
    coming: Sequence[Launch],
) -> Expansion:
    able = {source.pool.name: found for source in pools if (found := _source(source, needs))}
    if not able:
        return Expansion((), tuple(_never(one, needs) for one in waiting))
    there = _there(needs, seen, kept)
    launched = [replace(a, slots=able[a.pool].pool.slots) for a in coming if a.pool in able]
    there, _ = ordered(there, [*able.values()], launched)
    plan = expand(_rows(waiting, seen.now), there, [*able.values()], seen.now)
    sizes = {source.pool.name: source.size(needs.slots) for source in pools}
    unmet = (_told(one, needs, [source for source in pools if source.pool.name in able], seen) for one in plan.unmet)
    launches = (replace(a, slots=sizes[a.pool], why=f"{a.why}; each needs {words(needs)}") for a in plan.launches)
    return Expansion(tuple(launches), tuple(unmet))


def _told(one: Unmet, needs: Needs, pools: Sequence[Source], seen: Snapshot) -> Unmet:
    more = said_of_older(needs, pools, seen.executors) if "ceiling" in one.obstacles else ""
    return replace(one, slots=one.slots * needs.slots, why=one.why + more)


def _never(one: Waiting, needs: Needs) -> Unmet:
    return Unmet(one.who, one.count * one.slots, f"no pool gives {words(needs)}")


def _source(source: Source, needs: Needs) -> Source | None:
    """The pool counted in places; None if none of its executors has one."""
    size = source.size(needs.slots)
    places = times(needs, source.pool.offer, size, {}) if size <= source.pool.max_slots else 0
    if not places:
        return None
    pool = replace(source.pool, slots=places, max_slots=places)
    ceiling = source.hours.ceiling // size * places
    return replace(source, pool=pool, hours=replace(source.hours, ceiling=ceiling), room=source.room // size * places)


def _there(needs: Needs, seen: Snapshot, kept: Sequence[Executor]) -> list[Room]:
    """Places that are free, on their way, or expected back."""
    places = _places(needs, kept, _used(seen))
    on = _on(seen)
    running = tuple(back for e in kept if e.state != "draining" for back in _back(needs, e, on.get(e.id, ())))
    return rooms(replace(seen, demand=(Demand("", (), running),)), places)


def _used(seen: Snapshot) -> dict[str, Amounts]:
    found: dict[str, Amounts] = {}
    for busy in (b for d in seen.demand for b in d.running if b.amounts):
        found[busy.executor] = more(found.get(busy.executor, ()), busy.amounts)
    return found


def _places(needs: Needs, executors: Iterable[Executor], used: Mapping[str, Amounts]) -> list[Executor]:
    """The executors with places instead of slots; those that have none are left out."""
    found = []
    for e in executors:
        most = times(needs, e.offer, e.slots, {})
        now = 0 if e.kept else times(needs, e.offer, e.slots - e.busy_slots - e.aside, dict(used.get(e.id, ())))
        if most:
            found.append(replace(e, slots=most, busy_slots=most - now, kept=0, aside=0))
    return found


def _on(seen: Snapshot) -> dict[str, list[Busy]]:
    """Executor → what runs there."""
    found: dict[str, list[Busy]] = {}
    for busy in (b for d in seen.demand for b in d.running):
        found.setdefault(busy.executor, []).append(busy)
    return found


def _back(needs: Needs, e: Executor, mine: Sequence[Busy]) -> Iterator[Busy]:
    """When so many places come back, as the attempts there end."""
    free = e.slots - e.busy_slots
    used: Amounts = reduce(lambda found, busy: more(found, busy.amounts), mine, ())
    had = times(needs, e.offer, free, dict(used))
    for busy in sorted(mine, key=lambda b: b.predicted_finish):
        free, used = free + busy.slots, more(used, busy.amounts, -1)
        have = times(needs, e.offer, free, dict(used))
        if have > had:
            yield Busy(busy.predicted_finish, have - had, e.id)
        had = have
