"""The farm's own policy: backlog and time of day in, launches, drains and retirements out. docs/policy.md tells it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from schedules.budgets import affordable
from schedules.demand import Row, rows
from schedules.expansion import Expansion, Source, expand, ordered, sources
from schedules.floors import orders
from schedules.idle import above_ceiling, leave, leaves_at, levels, retire, spare, useful
from schedules.kinds import expand_kinds, outgrown, wanted
from schedules.model import Decision, Drain, Executor, Pool, Retire, Snapshot
from schedules.placement import late, rooms
from schedules.reserve import admitted
from schedules.windows import OpenHours, aimed, closed_by, hours


def default(seen: Snapshot) -> Decision:
    """What should change now. Pure: the same snapshot gives the same decision."""
    seen, unpaid = affordable(seen)
    seen, barred = admitted(seen)
    open_hours = {p.name: aimed(hours(p, seen.schedule, seen.now), p.name, seen.executors) for p in seen.pools}
    seen = replace(seen, pools=tuple(closed_by(p, open_hours[p.name]) for p in seen.pools))
    over = [act for pool in seen.pools for act in _over(pool, open_hours[pool.name], seen.executors)]
    pools = sources(seen.pools, open_hours, seen.executors, seen.now)
    over = [*over, *outgrown(replace(seen, executors=tuple(_without(seen.executors, over))), pools)]
    kept = _without(seen.executors, over)
    waiting = rows(seen)
    plan = orders(waiting, rooms(seen, kept) if waiting else [], pools, kept, seen.now)
    plan = expand_kinds(plan, seen, kept, pools)
    gone, leaving = _retirements(seen, open_hours, kept, plan, pools, waiting)
    unmet = (*plan.unmet, *barred, *unpaid)
    return Decision((*plan.launches, *over, *gone), _look_again(seen, open_hours, leaving), unmet)


def _over(pool: Pool, found: OpenHours, executors: Sequence[Executor]) -> list[Retire | Drain]:
    return leave(pool, executors) if pool.closed else above_ceiling(pool, found, executors)


def _without(executors: Iterable[Executor], leaving: Iterable[Retire | Drain]) -> list[Executor]:
    ids = {act.executor for act in leaving}
    return [e for e in executors if e.id not in ids]


def _retirements(
    seen: Snapshot,
    open_hours: Mapping[str, OpenHours],
    kept: Sequence[Executor],
    plan: Expansion,
    pools: list[Source],
    waiting: Sequence[Row],
) -> tuple[list[Retire], list[datetime]]:
    """Those that go now, and when the others that nothing needs may go."""
    if not any(e.busy_slots == 0 for e in kept):
        return [], []
    needed = _needed(seen, kept, waiting)
    free = [(e, pool) for pool in seen.pools for e in spare(pool, open_hours[pool.name], kept, needed)]
    level = levels(kept)
    at = {e.id: leaves_at(e, pool, open_hours[pool.name], level.get(e.id, 0)) for e, pool in free}
    going = [(e, pool) for e, pool in free if at[e.id] <= seen.now]
    gone = [retire(e, pool, open_hours[pool.name], seen.now, level.get(e.id, 0)) for e, pool in going]
    if gone and waiting and _missed(seen, _without(kept, gone), plan, pools, waiting):
        gone = []
    return gone, [moment for moment in at.values() if moment > seen.now]


def _needed(seen: Snapshot, kept: Sequence[Executor], waiting: Sequence[Row]) -> set[str]:
    """Those that waiting work could use. A late one and what was ordered in its place both stay until one is there."""
    others = wanted(seen, kept)
    if not waiting:
        return others
    pools = {pool.name: pool for pool in seen.pools}
    behind = [e for e in kept if e.pool in pools and late(e, pools[e.pool], seen.now)]
    slow = {e.id for e in behind}
    return useful([e for e in kept if e.id not in slow], waiting) | useful(behind, waiting) | others


def _missed(
    seen: Snapshot, kept: Sequence[Executor], plan: Expansion, pools: list[Source], waiting: Sequence[Row]
) -> bool:
    """Whether others would be ordered in the place of those that go."""
    coming, left = ordered(rooms(seen, kept), pools, plan.launches)
    return bool(expand(waiting, coming, left, seen.now).launches)


def _look_again(seen: Snapshot, open_hours: Mapping[str, OpenHours], leaving: Iterable[datetime]) -> datetime | None:
    """The first instant at which something changes by itself."""
    edges = (found.until for found in open_hours.values() if found.until)
    shut = (pool.breaker_open_until for pool in seen.pools if pool.breaker_open_until)
    moments = (*leaving, *edges, *shut, *_promises(seen))
    return min((moment for moment in moments if moment > seen.now), default=None)


def _promises(seen: Snapshot) -> Iterator[datetime]:
    """While something waits: due dates, expected finishes, and when a booting executor is no longer relied upon."""
    waiting = [w for d in seen.demand for w in d.waiting if w.count]
    if not waiting:
        return
    boots = {pool.name: max(pool.boot, pool.boot_p95) for pool in seen.pools}
    yield from (w.due for w in waiting)
    yield from (b.predicted_finish for d in seen.demand for b in d.running)
    yield from (
        e.since + boots[e.pool] for e in seen.executors if e.state in ("ordered", "booting") and e.pool in boots
    )
