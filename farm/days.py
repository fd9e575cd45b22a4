"""Days as people list them in farm.toml: dates, spans, days of every year, calendar files."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from farm.calendar_file import FIRST_YEAR, LAST_YEAR, BadCalendar, read_calendar

MOST = 20_000  # days of one list
FORMS = "write 2026-12-25, 12-25 for every year, 2026-12-24..2027-01-06, or the name of an .ics file"


@dataclass(frozen=True, slots=True)
class Days:
    """`said` as it stands in farm.toml; `days` are ISO dates."""

    said: tuple[str, ...] = ()
    days: frozenset[str] = frozenset()


def read_days(value: Any, folder: Path | None = None) -> Days:
    """`folder` is where the names of calendar files begin. Raises ValueError that says what to write."""
    said = [value] if isinstance(value, str | date) else value
    if not isinstance(said, list | tuple):
        raise ValueError(f"{str(value)[:60]!r} are no dates; {FORMS}")
    texts = [one.isoformat() if type(one) is date else one for one in said]
    found = {day.isoformat() for text in texts for day in _days(text, folder or Path())}
    if len(found) > MOST:
        raise ValueError(f"{len(found)} days are too many; at most {MOST} may be, name the days that matter")
    return Days(tuple(texts), frozenset(found))


def _days(text: Any, folder: Path) -> Iterable[date]:
    if not isinstance(text, str) or isinstance(text, datetime):
        raise ValueError(f"{str(text)[:60]!r} is no day; {FORMS}")
    if text.lower().endswith(".ics"):
        return _calendar(text, folder)
    first, dots, last = (part.strip() for part in text.partition(".."))
    if dots:
        return _span(_day(first), _day(last), text)
    if re.fullmatch(r"\d\d-\d\d", first):
        return _yearly(first)
    return [_day(first)]


def _day(text: str) -> date:
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no day; {FORMS}") from error


def _span(first: date, last: date, text: str) -> Iterator[date]:
    if last < first:
        raise ValueError(f"{text[:60]!r} ends before it begins; write the earlier day first")
    if (last - first).days > MOST:
        raise ValueError(f"{text[:60]!r} are too many days; at most {MOST} may be, name the days that matter")
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _yearly(text: str) -> list[date]:
    month, day = (int(part) for part in text.split("-"))
    found = []
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        try:
            found.append(date(year, month, day))
        except ValueError:  # the 29th of February
            continue
    if not found:
        raise ValueError(f"{text!r} is no day of any year; {FORMS}")
    return found


def _calendar(name: str, folder: Path) -> Iterable[date]:
    path = folder / Path(name).expanduser()
    try:
        return read_calendar(path)
    except BadCalendar as error:
        raise ValueError(str(error)) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ValueError(f"the calendar {str(path)!r} can't be read: {why}; name a file below the home") from error
