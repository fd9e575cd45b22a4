"""The only place that asks what time it is."""

import os
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
