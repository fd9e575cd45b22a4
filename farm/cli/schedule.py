"""`farm schedule show`: the week as a chart, a row for each day and a cell for each half hour; `farm schedule plan`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from farm.cli.deadline import deadline
from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import clean, emit, say, table
from farm.cli.reach import reader
from farm.cli.week import held, legend, rulers, shadows
from farm.refusal import Refusal

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HALF = timedelta(minutes=30)
SKIPPED = " "
MOST_LEFT = 20  # jobs without an executor on its way that are told
VERBS = {"launch": "order", "retire": "send away", "drain": "give no more work to", "preempt": "put aside"}
FIRST_YEAR, LAST_YEAR = 1900, 9900  # the second is not drawn any more
RULER = "".join(f"{hour:<6}" for hour in range(0, 24, 3))


WeekOption = Annotated[str | None, typer.Option(metavar="DATE", help="The week of this day, such as 2026-03-29.")]
AtOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="18:00, '2026-03-01 18:00' or +2h; this machine's clocks.")
]


def show(week: WeekOption = None, at: AtOption = None, home: HomeOption = None, json: JsonOption = False) -> int:
    """One chart for each pool, on the clocks of the first window's zone: which window rules when, with its floor (in
    executors) and ceiling (in slots). A cell is what holds when its half hour begins; a small letter: another window is
    open there too, and shadowed. Below it who rules to the minute. A window's edge drains; it never ends a running
    task. With --at only what holds then, and which window each setting comes from."""
    day, moment_ = _day(week), _time(at)
    with reader(home) as client:
        found = client.get("/v1/schedule", week=day, at=moment_)
    if json:
        emit(found)
        return 0
    if not found["windows"]:
        say("no windows in farm.toml: the same holds at every hour")
    if at is None:
        for pool, stretches in found["week"].items():
            print(clean("\n".join(chart(pool, found["zone"], date.fromisoformat(found["monday"]), stretches))))
            print()
    _tell_hours(found)
    return 0


def _tell_hours(found: Mapping[str, Any]) -> None:
    columns = ("floor", "idle_target", "ceiling", "idle_s", "price_per_hour", "window")
    rows = [[pool, *(now[name] for name in columns), moment(now["until"])] for pool, now in found["now"].items()]
    table((f"pool {moment(found['at'])}", *columns, "until"), rows, numbers=columns[:5])
    for pool, now in found["now"].items():
        for line in _sources(now):
            print(clean(f"{pool}: {line}"))
    for line in _lanes_told(found["lanes"]):
        print(clean(line))


def _sources(now: Mapping[str, Any]) -> list[str]:
    """Of what is not all one window's doing: which setting is whose, who is shadowed, why nothing is ordered."""
    several = set(now["by"].values()) - {now["window"]}
    whose = [", ".join(f"{name} of {window}" for name, window in now["by"].items())] if several else []
    below = [f"{', '.join(now['shadowed'])} is open too, and shadowed"] if now["shadowed"] else []
    return [*whose, *below, *([f"closed: {now['shut']}"] if now["shut"] else [])]


def _lanes_told(lanes: Mapping[str, Any]) -> list[str]:
    return [
        f"lane {lane} is closed by window {one['window']}, {_opens(one['opens'])}"
        for lane, one in lanes.items()
        if not one["open"]
    ]


def _opens(until: str | None) -> str:
    return f"until {moment(until)}" if until else "for a year at least"


def plan(at: AtOption = None, home: HomeOption = None, json: JsonOption = False) -> int:
    """With the jobs that wait and the executors there are now, as if the clock showed that time (without --at: now).
    Nothing is ordered and nobody is sent away."""
    moment_ = _time(at)
    with reader(home) as client:
        found = client.get("/v1/schedule/plan", at=moment_)
    if json:
        emit(found)
        return 0
    ruled = f"open: {', '.join(found['open'])}" if found["open"] else "no window is open"
    waits = f"{found['waiting']:,} task{'' if found['waiting'] == 1 else 's'}"
    print(clean(f"at {moment(found['at'])} {ruled}; {waits} would wait for a slot in the lanes open then"))
    for line in _lanes_told(found["lanes"]):
        print(clean(line))
    columns = ("floor", "idle_target", "ceiling", "price_per_hour", "executors", "slots", "closed")
    rows = [[pool, *(then[name] for name in columns)] for pool, then in found["pools"].items()]
    table(("pool", *columns), rows, numbers=columns[:6])
    for action in found["actions"]:
        print(clean(_told(action)))
    for left in found["unmet"][:MOST_LEFT]:
        print(clean(f"job {left['job']} goes on waiting ({left['slots']} slots): {left['why']}"))
    if not found["actions"] and not found["unmet"]:
        print("nothing would be ordered, nobody sent away")
    return 0


def _told(action: Mapping[str, Any]) -> str:
    about = action.get("executor") or action.get("attempt")
    if action["kind"] == "launch":
        size = f" of {action['slots']} slots" if action["slots"] > 1 else ""
        about = (
            f"{action['executors']} executor{'' if action['executors'] == 1 else 's'}{size} of pool {action['pool']}"
        )
    return f"{VERBS.get(action['kind'], action['kind'])} {about}: {action['why']}"


def _time(text: str | None) -> str | None:
    return deadline(text, option="--at") or None if text is not None else None


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
    lines += legend({letters[held(s)]: s for s in [*stretches][::-1]})
    return [*lines, "", *rulers(zone, monday, stretches), *shadows(zone, stretches)]


def _letters(stretches: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """What holds → its letter, in the order in which it comes first; more than 26 share the last."""
    found = list(dict.fromkeys(held(s) for s in stretches))
    return {what: LETTERS[min(n, len(LETTERS) - 1)] for n, what in enumerate(found)}


def _cell(
    day: date, n: int, zone: ZoneInfo, stretches: Sequence[Mapping[str, Any]], letters: Mapping[tuple[Any, ...], str]
) -> str:
    """What holds when the half hour begins, small where a window is shadowed; nothing when the clocks leave it out."""
    instants = _instants(day, n, zone)
    if not instants:
        return SKIPPED
    at = instants[0]
    found = next(s for s in stretches if _moment(s["start"]) <= at < _moment(s["end"]))
    letter = letters[held(found)]
    return letter.lower() if found["shadowed"] else letter


def _instants(day: date, n: int, zone: ZoneInfo) -> list[datetime]:
    """When the clocks show this half hour: never, once or twice."""
    wall = datetime.combine(day, time()) + n * HALF
    found = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in found if at.astimezone(zone).replace(tzinfo=None) == wall)


def _moment(text: str) -> datetime:
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
