"""Times of the API as people read them."""

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
    """The tasks of a job in a few words: `3/24 done, 1 failed, 2 running`."""
    words = [f"{counts['done']}/{counts['total']} done"]
    words += [f"{counts[state]} {state}" for state in ("failed", "cancelled", "skipped", "running") if counts[state]]
    return ", ".join(words)
