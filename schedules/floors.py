"""What a floor asks for. It is a total: whatever demand orders counts, so both are settled together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from schedules.demand import Row
from schedules.expansion import Expansion, Source, expand, ordered
from schedules.model import Executor, Launch
from schedules.placement import Room
from schedules.words import keeps


def orders(
    rows: Sequence[Row], rooms: Sequence[Room], pools: Sequence[Source], executors: Sequence[Executor], now: datetime
) -> Expansion:
    """What floors and demand order together, the floors' first: demand uses those too.

    Demand may still need others, larger or of another pool; then as many fewer are ordered for the floor's own sake.
    """
    there = {s.pool.name: sum(e.pool == s.pool.name and e.state != "draining" for e in executors) for s in pools}
    wanted = {s.pool.name: _missing(s, there[s.pool.name]) for s in pools}
    while True:
        floors = [_launch(s, there[s.pool.name], wanted[s.pool.name]) for s in pools if wanted[s.pool.name]]
        found, left = ordered(rooms, pools, floors) if floors else (rooms, pools)
        more = expand(rows, found, left, now)
        surplus = {s.pool.name: _surplus(s, there, wanted, more.launches) for s in pools}
        if not any(surplus.values()):
            return replace(more, launches=(*floors, *more.launches))
        wanted = {name: count - surplus[name] for name, count in wanted.items()}


def _missing(source: Source, there: int) -> int:
    """Executors to order for the floor, under ceiling and breaker."""
    return (
        0
        if source.shut or source.pool.closed
        else max(0, min(source.hours.floor - there, source.room // source.pool.slots))
    )


def _surplus(source: Source, there: Mapping[str, int], wanted: Mapping[str, int], launches: Sequence[Launch]) -> int:
    name = source.pool.name
    asked = sum(launch.count for launch in launches if launch.pool == name)
    return max(0, min(wanted[name], there[name] + wanted[name] + asked - source.hours.floor))


def _launch(source: Source, there: int, count: int) -> Launch:
    why = f"{keeps(source.hours, source.pool.name)} and {there} {'is' if there == 1 else 'are'} there"
    return Launch(source.pool.name, count, source.pool.slots, why)
