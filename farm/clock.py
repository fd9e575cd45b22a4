"""The only place that asks what time it is."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, with zone UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the clock


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
    return (at - EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


def from_nanos(value: int) -> datetime:
    """Events carry nanoseconds; the farm keeps microseconds."""
    return EPOCH + timedelta(microseconds=value // 1000)
