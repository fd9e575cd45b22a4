"""Where a value lies on an axis, and which values are written beside it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Put = Callable[[float], float]
DAY = timedelta(days=1)
_WAITS = (1, 10, 60, 600, 3600, 36_000, 360_000)  # seconds
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720)  # minutes


def linear(low: float, high: float, start: float, end: float) -> Put:
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Put:
    """Values below `low` lie where it does."""
    put = linear(math.log(low), math.log(high), start, end)
    return lambda value: put(math.log(max(low, value)))


def waits(most: float) -> list[float]:
    """Round durations from a second until beyond the longest wait."""
    beyond = next((each for each in _WAITS if each >= most), most)
    return [each for each in _WAITS if each < beyond] + [beyond]


def steps(most: float, wanted: int = 4) -> list[float]:
    """Round numbers from 0 to about `most`."""
    raw = max(most, 1e-9) / wanted
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [n * step for n in range(math.floor(most / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Tick:
    at: datetime
    text: str


def ticks(start: datetime, end: datetime) -> list[Tick]:
    """At most about ten round moments, UTC."""
    span = end - start
    if span > 300 * DAY:
        return [*_months(start, end, 1 + round(span / DAY / 300))]
    if span > 6 * DAY:
        step = next(n for n in (1, 2, 7, 14, 28, 56) if span / DAY / n <= 11)
        return [*_every(start, end, step * DAY, "%-d %b")]
    minutes = next((n for n in _STEPS if span.total_seconds() / 60 / n <= 11), 1440)
    return [*_every(start, end, timedelta(minutes=minutes), "%H:%M" if minutes < 720 else "%-d %b %H:%M")]


def _every(start: datetime, end: datetime, step: timedelta, form: str) -> Iterator[Tick]:
    at = datetime(start.year, start.month, start.day, tzinfo=UTC)
    at += -(-(start - at) // step) * step
    while at <= end:
        midnight = at.time() == datetime.min.time()
        yield Tick(at, f"{at:%-d %b}" if midnight else f"{at:{form}}")
        at += step


def _months(start: datetime, end: datetime, step: int) -> Iterator[Tick]:
    number = start.year * 12 + start.month
    while (at := datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)) <= end:
        yield Tick(at, f"{at:%b %Y}")
        number += step
