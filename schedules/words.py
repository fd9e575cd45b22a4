"""Numbers in the words of a reason."""

from datetime import datetime, timedelta


def plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def of(who: str) -> str:
    return f" of job {who}" if who else ""


def clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def length(span: timedelta) -> str:
    """1.5 s, 45 s, 12 min, 3.5 h."""
    seconds = span.total_seconds()
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{round(seconds, 1):g} s"
