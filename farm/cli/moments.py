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
    """The tasks of a job in a few words: `3/24 done, 1 failed, 2 running, 4 handed out`."""
    handed = counts.get("claimed", 0)
    found = [(counts[state], state) for state in ("failed", "cancelled", "skipped")]
    found += [(counts["running"] - handed, "running"), (handed, "handed out")]
    words = [f"{counts['done']}/{counts['total']} done", *(f"{count} {what}" for count, what in found if count)]
    return ", ".join(words)
