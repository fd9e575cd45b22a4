"""The only place that asks what time it is."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, with zone UTC."""
        ...


class SystemClock:
    """The wall clock. For trials of one that jumps: $FARM_CLOCK_OFFSET names a file that holds seconds to add."""

    def __init__(self) -> None:
        self._offset = os.environ.get("FARM_CLOCK_OFFSET")

    def now(self) -> datetime:
        now = datetime.now(UTC)  # noqa: TID251 - this is the clock
        return now + timedelta(seconds=float(Path(self._offset).read_text())) if self._offset else now


def _since_boot() -> float:
    """Seconds; also those for which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ServerClock:
    """That of the database server: processes on machines whose clocks are apart agree. Between two looks at it the time
    since boot carries it on. It goes back only when the server's was set back; by less than a moment it waits."""

    MOMENT = timedelta(seconds=2)
    SLOW_S = 1.0  # an answer that took longer tells little

    def __init__(self, ask: Callable[[], datetime], passed: Callable[[], float] = _since_boot) -> None:
        """Raises what `ask` does."""
        self._ask, self._passed = ask, passed
        self._lock = threading.Lock()
        self._last = EPOCH
        self._base, self._at = ask(), passed()

    def look(self) -> None:
        """Ask the server again. Raises what `ask` does."""
        before = self._passed()
        said = self._ask()
        after = self._passed()
        if after - before > self.SLOW_S:
            return
        said += timedelta(seconds=(after - before) / 2)
        with self._lock:
            self._base, self._at = said, after
            if self._last - said > self.MOMENT:
                self._last = said

    def now(self) -> datetime:
        with self._lock:
            self._last = max(self._last, self._base + timedelta(seconds=self._passed() - self._at))
            return self._last


class TurnedClock:
    """A clock that tests turn."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def turn(self, seconds: float) -> datetime:
        self._now += timedelta(seconds=seconds)
        return self._now


def micros(at: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


def from_nanos(value: int) -> datetime:
    """Events carry nanoseconds; the farm keeps microseconds."""
    return EPOCH + timedelta(microseconds=value // 1000)
