"""Which executors to order: the waiting rows, in order of due date, against the slots there are and the pools' room."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from schedules.demand import MICROSECOND, Row, limit, micro, packed
from schedules.model import Executor, Launch, Obstacle, Pool, Unmet
from schedules.placement import Room, free, merged, take
from schedules.singles import Lineup, alike
from schedules.windows import OpenHours
from schedules.words import clock, length, of, plural


@dataclass(frozen=True, slots=True)
class Source:
    """A pool as it is now: what its hours say, and the slots that may still be added under its ceiling."""

    pool: Pool
    hours: OpenHours
    room: int
    shut: datetime | None = None  # its breaker is open until then

    def size(self, slots: int) -> int:
        return max(self.pool.slots, slots)

    def able(self, slots: int) -> bool:
        """Whether it could give an executor for a task of so many slots, were none of its executors there."""
        fits = slots <= self.pool.max_slots and self.size(slots) <= self.hours.ceiling
        return fits and not self.shut and not self.pool.closed

    def obstacle(self, slots: int) -> Obstacle | None:
        """What keeps it from giving an executor for a task of so many slots now."""
        if slots > self.pool.max_slots:
            return "size"
        if self.pool.closed:
            return self.pool.closed
        if self.shut:
            return "breaker"
        return "ceiling" if self.room < self.size(slots) else None

    def refuses(self, slots: int) -> str:
        """The same in words, or ""."""
        match self.obstacle(slots):
            case "size":
                return f"pool {self.pool.name} gives {plural(self.pool.max_slots, 'slot')} at most"
            case "breaker" if self.shut:
                return f"pool {self.pool.name} had no machines and is asked again at {clock(self.shut)}"
            case "ceiling":
                limited = f", window {self.hours.of('ceiling')}" if self.hours.of("ceiling") else ""
                return f"pool {self.pool.name} is at its ceiling of {plural(self.hours.ceiling, 'slot')}{limited}"
            case "held" | "spending" | "schedule":
                return self.pool.closed_why
        return ""


@dataclass(frozen=True, slots=True)
class Expansion:
    """New executors, and the waiting that none of the pools may help now."""

    launches: tuple[Launch, ...] = ()
    unmet: tuple[Unmet, ...] = ()


def sources(
    pools: Iterable[Pool], hours: Mapping[str, OpenHours], executors: Sequence[Executor], now: datetime
) -> list[Source]:
    """Every pool with the room under its ceiling; draining executors still take theirs."""
    used = {pool: sum(e.slots for e in executors if e.pool == pool) for pool in hours}
    return [Source(p, hours[p.name], hours[p.name].ceiling - used[p.name], _shut(p, now)) for p in pools]


def _shut(pool: Pool, now: datetime) -> datetime | None:
    until = pool.breaker_open_until
    return until if until and until > now else None


def expand(rows: Sequence[Row], rooms: Sequence[Room], pools: Sequence[Source], now: datetime) -> Expansion:
    """Order until the rows, asked again with what is on its way, ask for nothing more."""
    done = Expansion()
    while True:
        step = _walk(rows, rooms, pools, now)
        if not step.launches:
            return Expansion(_together([*done.launches]), step.unmet)
        done = Expansion((*done.launches, *step.launches))
        rooms, pools = ordered(rooms, pools, step.launches)


def ordered(
    rooms: Sequence[Room], pools: Sequence[Source], launches: Sequence[Launch]
) -> tuple[list[Room], list[Source]]:
    """The rooms and pools once these executors, all of these pools, are on their way."""
    boots = {source.pool.name: micro(source.pool.boot) for source in pools}
    coming = [Room(boots[launch.pool], launch.slots, launch.count, True) for launch in launches]
    return merged([*rooms, *coming]), [_less(source, launches) for source in pools]


def _together(launches: Sequence[Launch]) -> tuple[Launch, ...]:
    """One order for each pool and size: the first to ask is named."""
    found: dict[tuple[str, int], Launch] = {}
    for launch in launches:
        first = found.setdefault((launch.pool, launch.slots), launch)
        if first is not launch:
            found[launch.pool, launch.slots] = _more(first, launch.count)
    return tuple(found.values())


def _more(first: Launch, count: int) -> Launch:
    more = "" if first.why.endswith("…") else "; more for what waits behind …"
    return replace(first, count=first.count + count, why=first.why + more)


def _walk(rows: Sequence[Row], rooms: Sequence[Room], pools: Sequence[Source], now: datetime) -> Expansion:
    if alike(rows):
        return _Queue(rooms, pools, now).walk(rows)
    launches, unmet, supply = list[Launch](), list[Unmet](), Supply([*rooms], [])
    for row in rows:
        order = _preferred(row, pools)
        asked, supply, left = _serve(row, supply, [source for source in order if source.able(row.slots)], now)
        pools = [_less(source, asked) for source in pools]
        launches.extend(asked)
        if left:
            full = [_less(source, asked) for source in order]
            why = "; ".join(source.refuses(row.slots) for source in full) or "there is no pool"
            found = tuple(o for source in full if (o := source.obstacle(row.slots)))
            unmet.append(Unmet(row.who, left * row.slots, why, found))
    return Expansion(tuple(launches), tuple(unmet))


class _Queue:
    """The walk of `_walk` where each row is one task of one slot."""

    def __init__(self, rooms: Sequence[Room], pools: Sequence[Source], now: datetime) -> None:
        self._there, self._coming, self._now = Lineup(rooms), Lineup(()), now
        self._pools = {source.pool.name: source for source in pools}
        self._boots = {name: micro(source.pool.boot) for name, source in self._pools.items()}
        self._launches = dict[str, Launch]()
        self._why = dict[tuple[str, ...], tuple[str, tuple[Obstacle, ...]]]()  # it waits, until something is ordered

    def walk(self, rows: Sequence[Row]) -> Expansion:
        unmet = [found for row in rows if (found := self._place(row, self._order(row)))]
        return Expansion(tuple(self._launches.values()), tuple(unmet))

    def _order(self, row: Row) -> Sequence[str]:
        if len(self._pools) == 1:
            return (*self._pools,)
        return [source.pool.name for source in _preferred(row, [*self._pools.values()])]

    def _place(self, row: Row, order: Sequence[str]) -> Unmet | None:
        able = [name for name in order if self._pools[name].able(1)]
        if not able and self._take(row, 0, False):
            return None
        for name in able:
            boot, prompt = self._boots[name], self._pools[name].pool.prompt
            if self._take(row, boot, prompt):
                return None
            if self._pools[name].room >= self._pools[name].size(1):
                self._ask(name, row, boot)
                self._take(row, boot, prompt)
                return None
        why, obstacles = self._obstacles((*order,))
        return Unmet(row.who, 1, why, obstacles)

    def _take(self, row: Row, boot: int, prompt: bool) -> bool:
        there, coming, due = self._there, self._coming, row.due
        if prompt:
            until = max(due, boot) if due > 0 else 0
            return there.take(row.predicted, until) or coming.take(row.predicted, until)
        return there.take(row.predicted, limit(due, boot)) or coming.take(row.predicted, packed(due, boot))

    def _ask(self, name: str, row: Row, boot: int) -> None:
        source = self._pools[name]
        first = self._launches.get(name)
        if first is None:
            asked = _launch(source, row, 1, self._there.free(limit(row.due, boot)), self._now)
            self._launches[name] = asked
        else:
            asked = replace(first, count=1)
            self._launches[name] = _more(first, 1)
        self._coming.add(boot, asked.slots)
        self._pools[name] = _less(source, [asked])
        self._why.clear()

    def _obstacles(self, order: tuple[str, ...]) -> tuple[str, tuple[Obstacle, ...]]:
        if order not in self._why:
            full = [self._pools[name] for name in order]
            why = "; ".join(source.refuses(1) for source in full) or "there is no pool"
            self._why[order] = why, tuple(o for source in full if (o := source.obstacle(1)))
        return self._why[order]


@dataclass(frozen=True, slots=True)
class Supply:
    """The rooms that were there before this walk, and those it ordered, which are packed tighter."""

    there: list[Room]
    coming: list[Room]

    def take(self, row: Row, boot: int) -> tuple["Supply", int]:
        there, left = take(self.there, row, limit(row.due, boot))
        if not left:
            return Supply(there, self.coming), 0
        coming, left = take(self.coming, replace(row, count=left), packed(row.due, boot))
        return Supply(there, coming), left


def _serve(row: Row, supply: Supply, order: Sequence[Source], now: datetime) -> tuple[list[Launch], Supply, int]:
    """Pool by pool: content with what is there before a machine of this one could do better? Else order from it.

    A pool that is full still has its say in the first question; so the answer is the same once it was filled.
    """
    launches = list[Launch]()
    after, left = supply.take(row, 0) if not order else (supply, row.count)
    for source in order:
        boot = micro(source.pool.boot)
        after, left = supply.take(row, boot)
        if left and not source.refuses(row.slots):
            launches.append(_launch(source, row, left, free(supply.there, limit(row.due, boot)), now))
            supply = replace(supply, coming=ordered(supply.coming, [source], launches[-1:])[0])
            after, left = supply.take(row, boot)
        if not left:
            break
    return launches, after, left


def _less(source: Source, launches: Sequence[Launch]) -> Source:
    used = sum(launch.count * launch.slots for launch in launches if launch.pool == source.pool.name)
    return replace(source, room=source.room - used) if used else source


def _preferred(row: Row, pools: Sequence[Source]) -> list[Source]:
    """Cheapest for the task first: price · (boot + predicted), shared by the tasks that run side by side. Of such as
    cost the same those that have nothing rare, then the quickest."""

    def cost(source: Source) -> tuple[float, int, int]:
        hold = micro(source.pool.boot) + row.predicted
        abreast = max(1, min(row.count, source.size(row.slots) // row.slots))
        return float(source.hours.price_per_hour) * hold / abreast, source.pool.offer.rare, hold

    return sorted(pools, key=cost)


def _launch(source: Source, row: Row, left: int, idle: int, now: datetime) -> Launch:
    """Executors for `left` tasks of the row, as many as the pool has room for."""
    size, boot = source.size(row.slots), micro(source.pool.boot)
    each = size // row.slots * max(1, (packed(row.due, boot) - boot) // row.predicted + 1)
    count = min(source.room // size, -(-left // each))
    return Launch(source.pool.name, count, size, _why(source, row, idle, now), row.who)


def _why(source: Source, row: Row, idle: int, now: datetime) -> str:
    wait = "waits" if row.count == 1 else "wait"
    need = f" of {plural(row.slots, 'slot')}" if row.slots > 1 else ""
    before = clock(now + limit(row.due, micro(source.pool.boot)) * MICROSECOND)
    return (
        f"{plural(row.count, 'task')}{need}{of(row.who)} {wait}, {plural(idle, 'slot')} free before {before}; "
        f"pool {source.pool.name} boots in {length(source.pool.boot)}"
    )
