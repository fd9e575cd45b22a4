"""Hard budgets: work whose money is spent is no demand, and no more is ordered than what is left pays for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from schedules.idle import SHORTEST_IDLE
from schedules.model import Budget, Demand, Pool, Snapshot, Unmet, Waiting
from schedules.windows import OpenHours, hours

HOUR = 3_600_000_000  # µs
MICROSECOND = timedelta(microseconds=1)
MANY = 1 << 60
GOING = timedelta(seconds=5)  # until somebody has seen that it may go, and it has gone


def exhausted(budget: Budget) -> bool:
    """Whether nothing more may begin of its work; what runs goes on."""
    return budget.spent + budget.bound >= budget.amount


def payers(budgets: Iterable[Budget], owner: str, lane: str) -> list[Budget]:
    """All of those that work of this owner in this lane is charged to."""
    return [b for b in budgets if b.owner in ("", owner) and b.lane in ("", lane)]


def affordable(seen: Snapshot) -> tuple[Snapshot, tuple[Unmet, ...]]:
    """The snapshot with as much waiting as its budgets pay for, earliest due first; and the rest.

    Tasks are reckoned with their length and with machines of their own, which boot, and idle when they are done, at the
    dearest price. One begins also where its own price is not left, if its machine's is.
    """
    if not seen.budgets:
        return seen, ()
    left = {b.name: b.amount - b.spent - b.bound for b in seen.budgets}
    begun, counts = set[str](), dict[int, int]()
    places = [(d.lane, w) for d in seen.demand for w in d.waiting]
    for place in sorted(range(len(places)), key=lambda place: places[place][1].due):
        lane, one = places[place]
        names = [b.name for b in payers(seen.budgets, one.owner, lane)]
        cost = _dearest(one, seen)
        least = min((left[name] for name in names), default=None)
        n = one.count if least is None else min(one.count, cost.tasks(least, not begun.intersection(names)))
        counts[place] = n
        begun.update(names if n else ())
        left |= {name: left[name] - cost.of(n) for name in names}
    return _with(seen, [counts[place] for place in range(len(places))])


@dataclass(frozen=True, slots=True)
class Cost:
    """A machine's, without work, and a task's beside it; so many tasks run on one at once."""

    machine: Decimal
    task: Decimal
    abreast: int

    def of(self, tasks: int) -> Decimal:
        return -(-tasks // self.abreast) * self.machine + tasks * self.task

    def tasks(self, left: Decimal, first: bool) -> int:
        """How many can be paid; the `first` if there is something left for it."""
        if left <= 0:
            return 0
        if not self.machine + self.task:
            return MANY
        full = int(left / (self.machine + self.abreast * self.task))
        rest = left - full * (self.machine + self.abreast * self.task) - self.machine
        more = min(self.abreast, int(rest / self.task) if self.task else self.abreast) if rest > 0 else 0
        return max(full * self.abreast + more, int(first and left > self.machine))


def _dearest(one: Waiting, seen: Snapshot) -> Cost:
    found = (_in_pool(one, pool, hours(pool, seen.schedule, seen.now)) for pool in seen.pools)
    return max(found, key=lambda cost: cost.of(1), default=FREE)


def _in_pool(one: Waiting, pool: Pool, found: OpenHours) -> Cost:
    if pool.closed or found.shut or not found.ceiling:
        return FREE
    size, price = max(pool.slots, one.slots), found.price_per_hour
    bare = max(pool.min_bill, pool.boot + idling(found.idle, pool.boot))
    return Cost(price * _in_hours(bare), price * _in_hours(one.predicted) * one.slots / size, size // one.slots)


def _in_hours(span: timedelta) -> Decimal:
    return Decimal(span // MICROSECOND) / HOUR


def idling(said: timedelta | None, boot: timedelta) -> timedelta:
    """How long a machine is paid for at most after its last work, under any preset."""
    return GOING + (said if said is not None else max(SHORTEST_IDLE, 2 * boot))


def _with(seen: Snapshot, counts: Sequence[int]) -> tuple[Snapshot, tuple[Unmet, ...]]:
    each, demand, unmet = iter(counts), list[Demand](), list[Unmet]()
    for d in seen.demand:
        rows = [(w, next(each)) for w in d.waiting]
        demand.append(replace(d, waiting=tuple(w if n == w.count else replace(w, count=n) for w, n in rows if n)))
        for w, n in rows:
            if n < w.count:
                short = min(payers(seen.budgets, w.owner, d.lane), key=lambda b: (b.amount - b.spent - b.bound, b.name))
                unmet.append(Unmet(w.who, (w.count - n) * w.slots, words(short), ("budget",)))
    return replace(seen, demand=tuple(demand)), tuple(unmet)


def words(budget: Budget) -> str:
    """`budget night of 20.00 is spent; the next begins at 2026-03-03 00:00 UTC`. Without what is spent: that grows from
    moment to moment, and each would be a decision of its own."""
    said = f"budget {budget.name} of {budget.amount:.2f} is spent"
    said = (
        said if exhausted(budget) else f"what is left of budget {budget.name} of {budget.amount:.2f} pays for no more"
    )
    return said + (f"; the next begins at {_moment(budget.until)}" if budget.until else "")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


FREE = Cost(Decimal(0), Decimal(0), 1)
