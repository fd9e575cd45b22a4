"""Slots that some lanes leave to the others, so that one is there, or can be ordered at once, for whoever comes however
long their work is. Nothing stands idle for it: it is a part of the ceilings, not machines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from schedules.budgets import exhausted
from schedules.demand import SHORTEST, micro, packed
from schedules.model import Demand, Pool, Snapshot, Unmet, Waiting
from schedules.windows import hours
from schedules.words import plural


@dataclass(frozen=True, slots=True)
class Allowed:
    """What these lanes may have at once, all of them together; and whose money is spent: (owner, lane), "" is all."""

    lanes: frozenset[str]
    slots: int
    broke: tuple[tuple[str, str], ...] = ()

    def pays(self, owner: str, lane: str) -> bool:
        return not any(who in ("", owner) and where in ("", lane) for who, where in self.broke)

    def room(self, used: int, slots: int) -> int:
        """How many more tasks of so many slots may begin. One that is larger than all of it begins alone."""
        return max(0, self.slots - used) // slots or int(not used and slots > self.slots)

    @property
    def words(self) -> str:
        lanes = sorted(self.lanes)
        who = f"lane {lanes[0]} leaves" if len(lanes) == 1 else f"lanes {', '.join(lanes)} leave"
        return f"{who} others all but {plural(self.slots, 'slot')}"


def allowed(seen: Snapshot) -> Allowed | None:
    """What the pools may have in all less what is reserved, and one slot at least; None where all have all.

    A pool that orders nothing now counts with what it has: what can't be ordered is no reserve, and for it nothing is
    taken away that is there.
    """
    about = seen.reserve
    broke = tuple((b.owner, b.lane) for b in seen.budgets if exhausted(b))
    if not about.lanes or not (about.slots or about.part):
        return Allowed(frozenset(), 0, broke) if broke else None
    whole = sum(_whole(pool, seen) for pool in seen.pools)
    return Allowed(about.lanes, max(1, whole - max(about.slots, ceil(about.part * whole))), broke)


def _whole(pool: Pool, seen: Snapshot) -> int:
    there = sum(e.slots for e in seen.executors if e.pool == pool.name and e.state != "draining")
    shut = pool.breaker_open_until is not None and pool.breaker_open_until > seen.now
    found = hours(pool, seen.schedule, seen.now)
    return there if pool.closed or found.shut or shut else max(there, found.ceiling)


def admitted(seen: Snapshot) -> tuple[Snapshot, tuple[Unmet, ...]]:
    """The snapshot with as much of these lanes' waiting as may begin beside what they run, earliest due first; and the
    rest, which is no demand before some of that has ended."""
    most = allowed(seen)
    mine = [d for d in seen.demand if most and d.lane in most.lanes]
    if most is None or not any(d.waiting for d in mine):
        return seen, ()
    waiting = [w for d in mine for w in d.waiting]
    counts = iter(_begin(waiting, most, sum(b.slots for d in mine for b in d.running), seen))
    demand, unmet = list[Demand](), list[Unmet]()
    for d in seen.demand:
        each = [(w, next(counts)) for w in d.waiting] if d.lane in most.lanes else [(w, w.count) for w in d.waiting]
        demand.append(replace(d, waiting=tuple(_fewer(w, n) for w, n in each if n)))
        unmet += [Unmet(w.who, (w.count - n) * w.slots, most.words, ("reserve",)) for w, n in each if n < w.count]
    return replace(seen, demand=tuple(demand)), tuple(unmet)


def _fewer(waiting: Waiting, count: int) -> Waiting:
    return waiting if count == waiting.count else replace(waiting, count=count)


def _begin(waiting: Sequence[Waiting], most: Allowed, used: int, seen: Snapshot) -> list[int]:
    """Of each how many tasks may begin. Short ones, of which a slot takes several in the time of a boot, are as many
    more: else machines would be ordered for the first of them only."""
    boot = micro(max((pool.boot for pool in seen.pools), default=timedelta()))
    found, left = [0] * len(waiting), float(most.slots - used)
    for place in sorted(range(len(waiting)), key=lambda place: waiting[place].due):
        one = waiting[place]
        share = one.slots / _each(one, boot, seen.now)
        n = min(one.count, int(left / share + 1e-9)) if left >= one.slots else 0
        if not n and not used and left == most.slots:
            n = most.room(0, one.slots)
        found[place] = n
        left -= n * share
        if n < one.count:
            break
    return found


def _each(one: Waiting, boot: int, now: datetime) -> int:
    """How many such tasks a new slot is to run one after the other."""
    length = max(SHORTEST, micro(one.predicted))
    return max(1, (packed(micro(one.due - now), boot) - boot) // length + 1)
