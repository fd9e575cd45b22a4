"""Durations as people write them: 90s, 10m, 1h30m, 2d."""

import re
from datetime import timedelta

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")


class BadDuration(ValueError):
    """The text is no duration; the message says what to type."""


def parse_duration(text: str) -> timedelta:
    """`90s`, `1h30m`; a bare number is seconds. Raises BadDuration."""
    given = text.strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", given):
        given += "s"
    if not given or _PART.sub("", given):
        raise BadDuration(f"{text[:40]!r} is no duration; write 90s, 10m or 1h30m")
    try:
        return timedelta(seconds=sum(float(n) * UNITS[unit] for n, unit in _PART.findall(given)))
    except OverflowError as error:
        raise BadDuration(f"{text[:40]!r} is too long; 100 years are enough") from error


def format_duration(seconds: float) -> str:
    """Short and readable: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
