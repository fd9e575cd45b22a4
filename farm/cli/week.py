"""The week in words beside its chart: what each letter means, who rules to the minute, who is shadowed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from farm.durations import format_duration

Stretch = Mapping[str, Any]
HELD = ("floor", "ceiling", "idle_s", "price_per_hour", "window", "idle_target", "shut")
OWN = "- (the pool's own)"


def held(stretch: Stretch) -> tuple[Any, ...]:
    """What makes two stretches alike."""
    lanes = stretch["lanes_open"]
    return (*(stretch[name] for name in HELD), tuple(sorted(stretch["by"].items())), lanes and tuple(lanes))


def legend(letters: Mapping[str, Stretch]) -> list[str]:
    """A line for each letter; columns of what nobody sets are left out."""
    letters = dict(sorted(letters.items()))
    found = list(letters.values())
    spare, lanes = any(s["idle_target"] for s in found), any(s["lanes_open"] is not None for s in found)
    head = ["", "floor", *(["idle target"] if spare else []), "ceiling", "idle", "price/h"]
    rows = [[*head, *(["lanes"] if lanes else []), "window"]]
    for letter, s in letters.items():
        idle = format_duration(s["idle_s"]) if s["idle_s"] is not None else "-"
        target = [str(s["idle_target"])] if spare else []
        shown = [("none" if s["lanes_open"] == [] else ", ".join(s["lanes_open"] or ["all"]))] if lanes else []
        price = str(s["price_per_hour"])
        rows.append([letter, str(s["floor"]), *target, str(s["ceiling"]), idle, price, *shown, _rule(s)])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rule(stretch: Stretch) -> str:
    """`night`, or where the settings come from several: `lunch (floor: day)`; and that nothing is ordered."""
    named = stretch["window"]
    others = [f"{name}: {w}" for name, w in sorted(stretch["by"].items()) if w != named]
    rest = f" ({', '.join(others)})" if others else ""
    shut = f"; closed: {stretch['shut']}" if stretch["shut"] else ""
    return f"{named}{rest}{shut}" if named else OWN


def rulers(zone: str, monday: date, stretches: Sequence[Stretch]) -> list[str]:
    """Who rules from which minute on, days that are alike as one line."""
    days = [(monday + timedelta(days=n), _day(monday + timedelta(days=n), zone, stretches)) for n in range(7)]
    lines = []
    for said, group in groupby(days, key=lambda pair: pair[1]):
        found = [day for day, _ in group]
        names = f"{found[0]:%a}" if len(found) == 1 else f"{found[0]:%a}-{found[-1]:%a}"
        lines.append(f"{names:9}{'   '.join(f'{at} {rule}' for at, rule in said)}")
    return lines


def _day(day: date, zone: str, stretches: Sequence[Stretch]) -> list[tuple[str, str]]:
    """(clock, rule) from midnight on, and at each change of the day."""
    found: list[tuple[str, str]] = []
    for begin, end, stretch in _local(zone, stretches):
        if begin.date() <= day <= (end - timedelta(microseconds=1)).date():
            at = "00:00" if begin.date() < day else f"{begin:%H:%M:%S}".removesuffix(":00")
            rule = _short(stretch)
            if not found or found[-1][1] != rule:
                found.append((at, rule))
    return found


def _short(stretch: Stretch) -> str:
    below = f" over {', '.join(stretch['shadowed'])}" if stretch["shadowed"] else ""
    return f"{stretch['window'] or '-'}{below}"


def shadows(zone: str, stretches: Sequence[Stretch]) -> list[str]:
    """`night is open and others win, for 7 h 30 min of this week: Mon 12:00 …`, for each window that is shadowed."""
    lengths: dict[str, timedelta] = {}
    first: dict[str, datetime] = {}
    for begin, end, stretch in _local(zone, stretches):
        for name in stretch["shadowed"]:
            lengths[name] = lengths.get(name, timedelta()) + (end - begin)
            first.setdefault(name, begin)
    long = {name: f"{format_duration(length.total_seconds())} of this week" for name, length in lengths.items()}
    return [f"{name} is shadowed for {span}, first on {first[name]:%a %H:%M}" for name, span in long.items()]


def _local(zone: str, stretches: Sequence[Stretch]) -> Iterator[tuple[datetime, datetime, Stretch]]:
    clocks = ZoneInfo(zone)
    for stretch in stretches:
        begin, end = (datetime.fromisoformat(stretch[key]).astimezone(clocks) for key in ("start", "end"))
        yield begin, end, stretch
