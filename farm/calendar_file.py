"""Holidays from an iCalendar file (RFC 5545): whole days of its events. What it does not know it refuses."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path

FIRST_YEAR, LAST_YEAR = 2000, 2099  # what repeats for ever is taken for these
LARGEST = 4 << 20  # bytes
MOST = 20_000  # days of one event
_PROPERTY = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)*):(.*)')
_KNOWN = ("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID", "STATUS", "SUMMARY")
_UNTIL = re.compile(r"(UNTIL=\d{8})T\d{6}Z?")
_OFTEN = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")


class BadCalendar(ValueError):
    """What is wrong, in which line; what to write instead."""


@dataclass(slots=True)
class _Event:
    """What an event says: property → (line, text), for those that may stand there often all of them."""

    line: int
    said: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def one(self, name: str) -> tuple[int, str] | None:
        return next(iter(self.said.get(name, ())), None)

    @property
    def name(self) -> str:
        found = self.one("SUMMARY")
        return f"the event {found[1][:60]!r}" if found else "the event"


def read_calendar(path: Path) -> frozenset[date]:
    """The days of its events. Raises BadCalendar, OSError, UnicodeDecodeError."""
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise BadCalendar(f"the calendar {path.name!r} is larger than 4 MiB; keep the holidays in one of their own")
    try:
        return frozenset(day for event in _events(raw.decode("utf-8-sig")) for day in _days(event))
    except BadCalendar as error:
        raise BadCalendar(f"{path.name} {error}") from error


def _events(text: str) -> Iterator[_Event]:
    inside: list[str] = []
    event: _Event | None = None
    number = 0
    for number, line in _unfolded(text):
        name, value = _property(number, line)
        if name == "BEGIN":
            inside.append(value.upper())
            event = _Event(number) if value.upper() == "VEVENT" else event
        elif name == "END":
            if not inside or inside.pop() != value.upper():
                raise BadCalendar(f"line {number}: END:{value[:40]} ends nothing; the file is damaged")
            if event and value.upper() == "VEVENT":
                yield event
                event = None
        elif event and inside[-1:] == ["VEVENT"] and name in _KNOWN:
            event.said.setdefault(name, []).append((number, value))
    if inside or not number:
        what = f"it ends inside of {inside[-1]}" if inside else "it is empty"
        raise BadCalendar(f"line {number}: {what}; it is no whole iCalendar file")


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that go on (they begin with a blank) joined, and the number of the first."""
    whole: tuple[int, str] | None = None
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if whole and line[:1] in (" ", "\t"):
            whole = whole[0], whole[1] + line[1:]
            continue
        if whole and whole[1].strip():
            yield whole
        whole = number, line
    if whole and whole[1].strip():
        yield whole


def _property(number: int, line: str) -> tuple[str, str]:
    found = _PROPERTY.fullmatch(line)
    if found is None:
        raise BadCalendar(f"line {number}: {line[:40]!r} is no line of an iCalendar file; save it as .ics again")
    return found[1].upper(), found[3].strip()


def _days(event: _Event) -> Iterator[date]:
    status = event.one("STATUS")
    if status and status[1].upper() == "CANCELLED":
        return
    for name in ("EXRULE", "RECURRENCE-ID"):
        if found := event.one(name):
            raise BadCalendar(f"line {found[0]}: {event.name} has {name}, which is not understood; list its days")
    begin = event.one("DTSTART")
    if begin is None:
        raise BadCalendar(f"line {event.line}: {event.name} has no DTSTART; add it")
    first = _day(event, *begin)
    length = _length(event, first)
    left_out = {_day(event, number, one) for number, text in event.said.get("EXDATE", ()) for one in text.split(",")}
    more = (_day(event, number, one) for number, text in event.said.get("RDATE", ()) for one in text.split(","))
    for day in {first, *_repeated(event, first), *more} - left_out:
        yield from (day + timedelta(days=n) for n in range(min(length, (date.max - day).days + 1)))


def _day(event: _Event, number: int, text: str) -> date:
    """Of a whole day: a date, or its midnight."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:T(\d{4,6})Z?)?", text.strip())
    if found is None:
        raise BadCalendar(f"line {number}: {text[:40]!r} is no date; write it like 20261225")
    if found[4] and found[4].strip("0"):
        at = f"{found[4][:2]}:{found[4][2:4]}"
        raise BadCalendar(f"line {number}: {event.name} begins or ends at {at}; holidays are whole days, leave it out")
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError as error:
        raise BadCalendar(f"line {number}: {text[:40]!r} is no date; write it like 20261225") from error


def _length(event: _Event, first: date) -> int:
    """Whole days; DTEND is the day after the last."""
    if end := event.one("DTEND"):
        days = (_day(event, *end) - first).days
        if days < 0:
            raise BadCalendar(f"line {end[0]}: {event.name} ends before it begins; DTEND is the day after the last")
    elif said := event.one("DURATION"):
        found = re.fullmatch(r"P(\d{1,4})([DW])", said[1])
        if found is None:
            raise BadCalendar(f"line {said[0]}: {said[1][:40]!r} are no whole days; write it like P1D")
        days = int(found[1]) * (7 if found[2] == "W" else 1)
    else:
        days = 1
    return min(max(1, days), MOST)


def _repeated(event: _Event, first: date) -> Iterator[date]:
    for number, rule in event.said.get("RRULE", ()):
        parts = dict(part.partition("=")[::2] for part in rule.upper().split(";"))
        yield from _by_rule(event, number, rule.upper(), parts, first)


def _by_rule(event: _Event, number: int, rule: str, parts: Mapping[str, str], first: date) -> Iterator[date]:
    from dateutil.rrule import rrulestr

    if parts.get("FREQ") not in _OFTEN:
        often = ", ".join(_OFTEN)
        raise BadCalendar(f"line {number}: {event.name} repeats by {rule[:60]!r}; only FREQ={often} are understood")
    try:
        if int(parts.get("INTERVAL") or 1) < 1:
            raise ValueError(rule)  # it would come again and again on the same day, for ever
        found = rrulestr(_UNTIL.sub(r"\1", rule), dtstart=datetime.combine(first, time()))
        for at in found.xafter(datetime.combine(first, time()), inc=True):
            if at.year > LAST_YEAR:
                return
            yield at.date()
    except (ValueError, TypeError, KeyError, IndexError) as error:
        what = f"line {number}: the rule {rule[:60]!r} of {event.name} makes no sense"
        raise BadCalendar(f"{what}; list its days instead") from error
