"""Times of the API as people read them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from farm.durations import format_duration


def moment(text: str | None) -> str:
    """A time of the API in this machine's zone: `Jan 05 14:03:09`."""
    return datetime.fromisoformat(text).astimezone().strftime("%b %d %H:%M:%S") if text else ""


def span(begin: str | None, end: str | None) -> str:
    """How long something took; empty while it runs."""
    if not begin or not end:
        return ""
    return format_duration((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())


def progress(counts: dict[str, Any]) -> str:
    """The tasks of a job in a few words: `3/24 done, 1 failed, 2 running, 4 handed out`."""
    handed = counts.get("claimed", 0)
    found = [(counts[state], state) for state in ("failed", "cancelled", "skipped")]
    found += [(counts["running"] - handed, "running"), (handed, "handed out")]
    words = [f"{counts['done']}/{counts['total']} done", *(f"{count} {what}" for count, what in found if count)]
    return ", ".join(words)


def expected(found: Mapping[str, Any]) -> str:
    """`45 s; by now 44 s, 12 s to 2 min 30 s in four of five, after 6 runs`."""
    path = f"; {_length(found['path_s'])} with all behind it" if found.get("path_s") else ""
    planned = _length(found["planned_s"])
    if not found["runs"]:
        return f"{planned}, a guess: it has not run before{path}"
    low, high = _length(found["low"]), _length(found["high"])
    runs = f"{found['runs']} run{'' if found['runs'] == 1 else 's'}"
    on = f" on {found['shape']}" if found.get("shape") else ""
    now = _length(found["seconds"])
    return f"{planned}; by now {now}, {low} to {high} in four of five, after {runs}{on}{path}"


def _length(seconds: float) -> str:
    return format_duration(seconds) if seconds >= 0.1 else f"{seconds * 1000:.2g} ms"
