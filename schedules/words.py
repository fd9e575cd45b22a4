"""Numbers in the words of a reason."""

from datetime import datetime, timedelta

from schedules.windows import OpenHours


def plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def keeps(hours: OpenHours, pool: str) -> str:
    """`window office keeps 3 executors`, or `… keeps 1 executor idle beside the 2 that work`."""
    named = hours.of("spare" if hours.targeted else "floor")
    rule = f"window {named}" if named else f"pool {pool}"
    if not hours.targeted:
        return f"{rule} keeps {plural(hours.floor, 'executor')}"
    busy = hours.floor - hours.spare
    beside = f" beside the {busy} that work{'s' if busy == 1 else ''}" if busy else ""
    return f"{rule} keeps {plural(hours.spare, 'executor')} idle{beside}"


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
