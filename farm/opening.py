"""Days and hours as people write them in farm.toml. What makes no sense is a ValueError that says what to write."""

from datetime import time

from farm.wording import nearest

LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def span(text: str) -> tuple[time, time]:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"hours {text!r} are no span; write 19:00-07:00")
    return _time(start), _time("00:00" if end.strip() == "24:00" else end)


def _time(text: str) -> time:
    try:
        found = time.fromisoformat(text.strip())
        if found.tzinfo is not None:
            raise ValueError(text)
        return found
    except ValueError as error:
        raise ValueError(f"{text.strip()!r} is no time of day; write 07:00") from error


def days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = (_short(p.strip()) for p in part.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"days {text!r} mean nothing; write mon-fri or sat,sun")
        a, b = DAYS.index(first), DAYS.index(last) if dash else DAYS.index(first)
        found |= {d % 7 for d in range(a, (b if b >= a else b + 7) + 1)}
    return frozenset(found)


def _short(day: str) -> str:
    """`monday` is as good as `mon`."""
    return day[:3] if day in LONG_DAYS else day


def zone(name: str) -> None:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        near = nearest(name, zoneinfo.available_timezones())
        remedy = near if "did you mean" in near else "write one such as Europe/Prague"
        raise ValueError(f"zone {name!r} is unknown; {remedy}") from error
