"""How long an idle executor is worth keeping, learned from how long the farm did without one before.

When work for n executors fell to work for n - 1: how long until there was work for n again? Where such gaps are mostly
short an executor is kept over them, where they are long it goes at once: whichever would have cost least so far.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from schedules.arrivals import Arrivals
from schedules.model import Pool, Snapshot

KEPT = 300  # gaps of a level that count, the newest
ENOUGH = 20  # gaps from which something is learned, and after which it is learned anew
PARTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of what a new boot is worth; for longer than that none is kept
MOST = 50_000  # levels: a backlog of millions is no reason to remember each
BUCKETS = 7  # levels that are learned together: 1, 2, 3, 4-7, 8-15, 16-31, 32 and more
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bucket(level: int) -> int:
    """From 0 on. `level` ≥ 1."""
    return level - 1 if level < 4 else min(BUCKETS - 1, level.bit_length())


@dataclass(slots=True)
class Gaps:
    """`level`: for how many executors there is work now."""

    level: int = 0
    learned: Mapping[str, tuple[timedelta, ...]] = field(default_factory=dict)  # pool → as told last
    arrivals: Arrivals = field(default_factory=Arrivals)
    spares: Mapping[str, int] = field(default_factory=dict)  # pool → as told last
    _left: dict[int, int] = field(default_factory=dict)  # level → when there was last so much work, µs
    _gaps: list[deque[int]] = field(default_factory=lambda: [deque(maxlen=KEPT) for _ in range(BUCKETS)])  # µs
    _seen: list[int] = field(default_factory=lambda: [0] * BUCKETS)  # gaps, ever
    _best: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)  # bucket, worth → learned after, µs

    def told(self, seen: Snapshot) -> Snapshot:
        """Learn from it; the same, with what its pools that learn have learned."""
        if not any(pool.learns for pool in seen.pools):
            return seen
        self.saw((seen.now - EPOCH) // MICROSECOND, _level(seen))
        self.learned = {pool.name: self._kept(pool) for pool in seen.pools if pool.learns}
        self.spares = self.arrivals.spares(seen)
        return self.known(seen)

    def known(self, seen: Snapshot) -> Snapshot:
        """The same without learning: what was told last."""
        return replace(seen, pools=tuple(self._with(pool) for pool in seen.pools)) if self.learned else seen

    def saw(self, at: int, level: int) -> None:
        """There is work for so many executors from now (µs) on."""
        while self.level < level:
            self.level += 1
            left = self._left.pop(self.level, None)
            if left is not None:
                self._gaps[bucket(self.level)].append(at - left)
                self._seen[bucket(self.level)] += 1
        while self.level > level:
            self._left[self.level] = at
            self.level -= 1

    def kept(self, worth: int) -> tuple[int, ...]:
        """Bucket → µs that an idle executor is kept if a new boot is worth `worth` µs of it: for no longer than those
        of lower levels, which are at work more often."""
        found, least = list[int](), worth
        for number in range(BUCKETS):
            least = min(least, self._learned(number, worth))
            found.append(least)
        return tuple(found)

    def _with(self, pool: Pool) -> Pool:
        spare = max(pool.spare, self.spares.get(pool.name, 0))
        return replace(pool, kept=self.learned.get(pool.name, ()), spare=spare) if pool.learns else pool

    def _kept(self, pool: Pool) -> tuple[timedelta, ...]:
        return tuple(each * MICROSECOND for each in self.kept(pool.boots_kept * pool.boot // MICROSECOND))

    def _learned(self, number: int, worth: int) -> int:
        seen, known = self._seen[number], self._best.get((number, worth))
        if seen < ENOUGH:
            return worth
        if known is None or seen >= known[0] + ENOUGH:
            self._best = {key: value for key, value in self._best.items() if key[0] != number}  # a boot time changes
            known = self._best[number, worth] = seen, best(self._gaps[number], worth)
        return known[1]


def best(gaps: Sequence[int], worth: int) -> int:
    """How long to keep an executor over such gaps, where a new boot is worth `worth`: what would have cost least."""
    limits = [round(part * worth) for part in PARTS]
    return min(limits, key=lambda limit: sum(gap if gap <= limit else limit + worth for gap in gaps))


def _level(seen: Snapshot) -> int:
    busy = sum(e.busy_slots > 0 for e in seen.executors)
    waiting = sum(w.count * w.slots for d in seen.demand for w in d.waiting)
    return min(MOST, busy - (-waiting // max(pool.slots for pool in seen.pools)))
