"""When people come: how many tasks came while a machine boots, hour by hour of the week. So many machines are to be
there before anybody asks, in the hours in which it was so before."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from schedules.model import Pool, Snapshot

WEEK = 7 * 24  # hours; those of UTC, since no clock of a person's is known here
HOUR = 3_600_000_000  # µs
ENOUGH = HOUR  # an hour of the week that was seen for as long as that tells something
FORGET = 8 * HOUR  # … and after so long what it told counts half
LEAST = 1_000_000  # µs; no machine boots faster as far as this goes
LONGEST = 366 * 24 * HOUR  # without anybody; what was before that is not gone through
MOST = 1000  # arrivals in a boot beyond which they are not told apart
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hour_of_week(at: int) -> int:
    """0 is Monday from 0:00 on, UTC; `at` in µs."""
    return (at // HOUR + 3 * 24) % WEEK  # 1970 began on a Thursday


def next_hour(at: int) -> int:
    return (at // HOUR + 1) * HOUR


@dataclass(slots=True)
class Hour:
    """In so many stretches of a boot so many tasks came."""

    counts: dict[int, float] = field(default_factory=dict)
    total: float = 0.0

    def saw(self, came: int, times: float, keep: float) -> None:
        self.counts[came] = self.counts.get(came, 0.0) + times
        self.total += times
        if self.total > keep:
            self.counts = {n: seen / 2 for n, seen in self.counts.items()}
            self.total /= 2

    def quantile(self, part: float) -> int:
        """So many or fewer came in this part of them."""
        left = part * self.total
        for came in sorted(self.counts):
            left -= self.counts[came]
            if left <= 1e-9:
                return came
        return 0


@dataclass(slots=True)
class Arrivals:
    """Learned from what came, in order of time. `since`: the stretch that is not over yet, µs."""

    boot: int = 0
    since: int = 0
    came: int = 0
    hours: list[Hour] = field(default_factory=lambda: [Hour() for _ in range(WEEK)])

    def fits(self, boot: timedelta) -> bool:
        """Whether what is known is about machines that boot as long, more or less."""
        return self.boot * 2 // 3 < max(LEAST, boot // MICROSECOND) < self.boot * 2

    def begin(self, at: int, boot: timedelta) -> None:
        """Anew, from `at` (µs) on."""
        self.boot, self.since, self.came = max(LEAST, boot // MICROSECOND), at, 0
        self.hours = [Hour() for _ in range(WEEK)]

    def saw(self, at: int, tasks: int) -> None:
        """So many came at `at` (µs), in lanes in which nobody waits for long."""
        if self.boot:
            self._until(at)
            self.came = min(MOST, self.came + tasks)

    def spares(self, seen: Snapshot) -> dict[str, int]:
        """Pool → how many empty machines it is to have: the cheapest that expects somebody."""
        pool = cheapest(seen)
        if pool is None:
            return {}
        now = (seen.now - EPOCH) // MICROSECOND
        if not self.fits(pool.boot):
            self.begin(now, pool.boot)
        self._until(now)
        spare = -(-self.expected(now, pool.ahead) // pool.slots)
        return {pool.name: spare} if spare else {}

    def expected(self, at: int, quantile: float) -> int:
        """Tasks that come in the time of a boot, in this hour of the week; 0 while little is known."""
        hour = self.hours[hour_of_week(at)]
        return hour.quantile(quantile) if hour.total * self.boot >= ENOUGH * 0.9 else 0

    def _until(self, at: int) -> None:
        """Stretches end as time passes, most of them without anybody."""
        if at < self.since + self.boot:
            return
        self._end(self.since, self.came, 1)
        self.came, self.since = 0, max(self.since + self.boot, at - LONGEST)
        while (whole := (at - self.since) // self.boot) > 0:
            here = min(whole, max(1, (next_hour(self.since) - self.since) // self.boot))
            self._end(self.since, 0, here)
            self.since += here * self.boot

    def _end(self, start: int, came: int, times: int) -> None:
        self.hours[hour_of_week(start)].saw(came, times, FORGET / self.boot)


def cheapest(seen: Snapshot) -> Pool | None:
    """Of the pools that expect somebody, and may order."""
    able = [pool for pool in seen.pools if pool.ahead and pool.ceiling and not pool.closed]
    return min(able, key=lambda p: (float(p.price_per_hour) * p.boot.total_seconds(), p.boot, p.name), default=None)
