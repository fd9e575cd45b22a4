"""What one attempt may use: time, silence, output, memory, processes. Standard library only: keepers use it."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from executors.site.cage import NO_CAGE, Cage
from executors.site.proc import descendants, fair_memory, memory, myself

LOOK_S = 0.25  # how often memory is looked at when it is limited
COUNT_S = 0.05  # … and processes
PEAK_S = 1.0  # … and memory when nothing is
MANY = 2000  # processes that are looked at
REST = 100  # looking costs no more than a hundredth of a core
LONG_S, SHORT_S = 5.0, 0.5  # between TERM and KILL; the short one for what hurts others meanwhile


class Broken(NamedTuple):
    """A limit that was broken: which, one sentence about it, and how long the attempt may take to end."""

    cause: str
    message: str
    grace_s: float = SHORT_S


class Meter:
    """Memory and processes of an attempt: as its group tells, else as /proc does for all below this process."""

    def __init__(self, cage: Cage) -> None:
        self.cage = cage

    def memory(self) -> int:
        """Bytes."""
        return self.cage.used() if self.cage.memory else sum(map(memory, descendants(myself(), MANY)))

    def broken(self, used: int, most: int, processes: int) -> Broken | None:
        """Whether the attempt has gone beyond `most` bytes or `processes`; 0 is no limit. `used` is a first guess."""
        return (most and self._memory(used, most)) or (processes and self._processes(processes)) or None

    def _memory(self, used: int, most: int) -> Broken | None:
        if self.cage.memory:
            return beyond_memory(most) if self.cage.memory_killed() else None
        if used > most and (fair := sum(map(fair_memory, descendants(myself(), MANY)))) > most:
            return Broken("memory", f"it used {size(fair)} of memory, its limit is {size(most)}")
        return None

    def _processes(self, most: int) -> Broken | None:
        if self.cage.pids:
            text = f"it wanted more than {most} processes at once, its limit"
            return Broken("processes", text) if self.cage.refused() else None
        if (found := len(descendants(myself(), most))) <= most:
            return None
        return Broken("processes", f"it had {found} processes at once, its limit is {most}", 0)  # they may multiply


class Limits:
    """`given` may have timeout_s, silence_s, output_bytes, memory_bytes and processes. Times are time.monotonic()."""

    timeout = silence = 0.0
    output = most = processes = written = peak = 0
    every = PEAK_S
    meter = Meter(NO_CAGE)

    def __init__(self, given: Mapping[str, float], now: float) -> None:
        self.given = given
        self.began = self.heard_at = now
        if given:  # most tasks have none, and end before this is done
            self.timeout, self.silence = given.get("timeout_s", 0.0), given.get("silence_s", 0.0)
            self.output = int(given.get("output_bytes", 0))
            self.most, self.processes = int(given.get("memory_bytes", 0)), int(given.get("processes", 0))
            self.every = COUNT_S if self.processes else LOOK_S if self.most else PEAK_S
        self.look_at = now + self.every

    def within(self, until: float) -> bool:
        """Whether one may be broken before then, output left aside."""
        return bool(self.given) and min(self.due()) < until

    @property
    def confining(self) -> bool:
        """Whether a group of its own would help."""
        return bool(self.most or self.processes)

    def wrote(self, count: int, now: float) -> None:
        self.written += count
        self.heard_at = now

    def due(self) -> Iterator[float]:
        """When something may be found broken without any output."""
        yield self.look_at
        if self.timeout:
            yield self.began + self.timeout
        if self.silence:
            yield self.heard_at + self.silence

    def broken(self, now: float) -> Broken | None:
        """The first limit that does not hold any more."""
        if self.timeout and now >= self.began + self.timeout:
            return Broken("timeout", f"it ran for {now - self.began:.1f} s, its limit is {self.timeout:g} s", LONG_S)
        if self.silence and now >= self.heard_at + self.silence:
            text = f"it wrote nothing for {now - self.heard_at:.1f} s, its limit is {self.silence:g} s"
            return Broken("silence", text, LONG_S)
        return self._wordy() or (self._look(now) if now >= self.look_at else None)

    def _wordy(self) -> Broken | None:
        if self.output and self.written > self.output:
            return Broken("output", f"it wrote {size(self.written)}, its limit is {size(self.output)}")
        return None

    def _look(self, now: float) -> Broken | None:
        used = self.meter.memory()
        self.peak = max(self.peak, used)
        found = self.meter.broken(used, self.most, self.processes)
        done = time.monotonic()
        self.look_at = done + max(self.every, REST * (done - now))
        return found

    def broken_at_last(self) -> Broken | None:
        """After its end: what the kernel has counted, and all that it wrote. So nothing hangs on when we looked."""
        caged = self.meter.cage
        if found := self._wordy():
            return found
        return (
            self.meter.broken(0, self.most if caged.memory else 0, self.processes if caged.pids else 0)
            if caged
            else None
        )


def beyond_memory(most: int) -> Broken:
    return Broken("memory", f"it wanted more memory than its limit of {size(most)}")


def size(count: int) -> str:
    """1536 → 1.5 KiB."""
    number, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while number >= 1024 and len(units) > 1:
        number /= 1024
        units.pop(0)
    return f"{number:.3g} {units[0]}" if number < 1000 else f"{number:.0f} {units[0]}"
