"""`farm schedule show`: the week as a chart, a row for each day and a cell for each half hour."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say, table
from farm.cli.reach import reader
from farm.durations import format_duration
from farm.refusal import Refusal

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
HELD = ("floor", "ceiling", "idle_s", "price_per_hour", "window")
HALF = timedelta(minutes=30)
SKIPPED = " "
FIRST_YEAR, LAST_YEAR = 1900, 9900  # the second is not drawn any more
RULER = "".join(f"{hour:<6}" for hour in range(0, 24, 3))


def show(
    week: Annotated[str | None, typer.Option(metavar="DATE", help="The week of this day, such as 2026-03-29.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """One chart for each pool, on the clocks of the first window's zone: which window rules when, with its floor (in
    executors) and ceiling (in slots). A cell is what holds when its half hour begins. A window's edge drains; it never
    ends a running task."""
    day = _day(week)
    with reader(home) as client:
        found = client.get("/v1/schedule", week=day)
    if json:
        emit(found)
        return 0
    if not found["windows"]:
        say("no windows in farm.toml: the same holds at every hour")
    for pool, stretches in found["week"].items():
        print("\n".join(chart(pool, found["zone"], date.fromisoformat(found["monday"]), stretches)))
        print()
    columns = ("floor", "ceiling", "idle_s", "price_per_hour", "window")
    rows = [[pool, *(now[name] for name in columns), moment(now["until"])] for pool, now in found["now"].items()]
    table(("pool now", *columns, "until"), rows, numbers=columns[:4])
    return 0


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Refusal(f"{text!r} is no day", "--week", "write it like 2026-03-29") from error
    if not FIRST_YEAR <= day.year < LAST_YEAR:
        raise Refusal(f"no week of the year {day.year} can be drawn", "--week", f"from {FIRST_YEAR} to {LAST_YEAR - 1}")
    return text


def chart(pool: str, zone: str, monday: date, stretches: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of text."""
    letters = _letters(stretches)
    days = [monday + timedelta(days=n) for n in range(7)]
    lines = [f"pool {pool}, week of {monday:%a %b %d %Y}, clocks of {zone}", f"{'':12}{RULER}".rstrip()]
    for day in days:
        cells = "".join(_cell(day, n, ZoneInfo(zone), stretches, letters) for n in range(48))
        lines.append(f"{day:%a %b %d}  {cells}".rstrip())
    lines += [line for day in days for line in _jumps(day, ZoneInfo(zone))]
    return [*lines, *_legend(letters)]


def _held(stretch: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(stretch[name] for name in HELD)


def _letters(stretches: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """What holds → its letter, in the order in which it comes first; more than 52 share the last."""
    found = list(dict.fromkeys(_held(s) for s in stretches))
    return {held: LETTERS[min(n, len(LETTERS) - 1)] for n, held in enumerate(found)}


def _cell(
    day: date, n: int, zone: ZoneInfo, stretches: Sequence[Mapping[str, Any]], letters: Mapping[tuple[Any, ...], str]
) -> str:
    """What holds when the half hour begins; nothing when the clocks leave it out."""
    instants = _instants(day, n, zone)
    if not instants:
        return SKIPPED
    at = instants[0]
    return next(letters[_held(s)] for s in stretches if _time(s["start"]) <= at < _time(s["end"]))


def _instants(day: date, n: int, zone: ZoneInfo) -> list[datetime]:
    """When the clocks show this half hour: never, once or twice."""
    wall = datetime.combine(day, time()) + n * HALF
    found = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in found if at.astimezone(zone).replace(tzinfo=None) == wall)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _jumps(day: date, zone: ZoneInfo) -> list[str]:
    """In words: the hours that the clocks leave out or show twice on this day."""
    times = [len(_instants(day, n, zone)) for n in range(48)]
    said = {0: "does not happen: the clocks go forward", 2: "happens twice: the clocks go back"}
    lines = []
    for count, words in said.items():
        halves = [n for n in range(48) if times[n] == count]
        if halves:
            lines.append(f"{day:%a %b %d}  {_clock(halves[0])} to {_clock(halves[-1] + 1)} {words}")
    return lines


def _clock(n: int) -> str:
    return f"{n // 2:02}:{n % 2 * 30:02}"


def _legend(letters: Mapping[tuple[Any, ...], str]) -> list[str]:
    rows = [("", "floor", "ceiling", "idle", "price/h", "window")]
    for (floor, ceiling, idle, price, window), letter in letters.items():
        kept = format_duration(idle) if idle is not None else "-"
        rows.append((letter, str(floor), str(ceiling), kept, str(price), window or "- (the pool's own)"))
    widths = [max(len(row[n]) for row in rows) for n in range(6)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
