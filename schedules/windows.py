"""Opening hours: what holds for a pool now, until when, and how the week looks.

The clock on the wall decides. A window is open whenever the wall clock of its zone shows a time inside it: an hour that
the clocks skip does not happen (the window opens when they jump), an hour that they repeat counts both times.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from schedules.model import Hours, Pool, Window

DAY = timedelta(days=1)
HORIZON = 8  # days ahead in which an edge is looked for; without one, look again then
SETTINGS = ("floor", "ceiling", "idle", "price_per_hour")


@dataclass(frozen=True, slots=True)
class OpenHours:
    """What holds for one pool at one instant: `window` is the last open one that says anything, or ""."""

    floor: int
    ceiling: int
    idle: timedelta | None
    price_per_hour: Decimal
    window: str = ""
    until: datetime | None = None  # nothing changes by itself before; None: never


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a week in which the same holds."""

    start: datetime
    end: datetime
    hours: OpenHours


def hours(pool: Pool, windows: Sequence[Window], now: datetime) -> OpenHours:
    """The pool's settings under the windows open now: of those that say something of a setting, the last wins."""
    mine = [window for window in windows if pool.name in window.pools and _said(window.pools[pool.name])]
    found = OpenHours(pool.floor, pool.ceiling, pool.idle, pool.price_per_hour, "", _until(mine, now))
    for window in mine:
        if is_open(window, now):
            found = _over(found, window.name, window.pools[pool.name])
    return found


def _over(below: OpenHours, name: str, said: Hours) -> OpenHours:
    return replace(
        below,
        floor=below.floor if said.floor is None else said.floor,
        ceiling=below.ceiling if said.ceiling is None else said.ceiling,
        idle=below.idle if said.idle is None else said.idle,
        price_per_hour=below.price_per_hour if said.price_per_hour is None else said.price_per_hour,
        window=name,
    )


def is_open(window: Window, now: datetime) -> bool:
    """Whether the window's wall clock shows a time inside it; after midnight it is still the day before."""
    wall = now.astimezone(ZoneInfo(window.zone))
    today, clock = wall.date(), wall.time()
    if window.start < window.end:
        return _starts(window, today) and window.start <= clock < window.end
    return (_starts(window, today) and clock >= window.start) or (_starts(window, today - DAY) and clock < window.end)


def midnight(zone: str, day: date) -> datetime:
    """When the day begins on the clocks of the zone."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def week(windows: Sequence[Window], pool: Pool, start: datetime, end: datetime | None = None) -> tuple[Segment, ...]:
    """From `start` to `end`, else for seven days, cut where what holds for the pool changes."""
    end, found = end or start + 7 * DAY, list[Segment]()
    while start < end:
        now = hours(pool, windows, start)
        stop = min(end, now.until or end)
        same = found and replace(found[-1].hours, until=None) == replace(now, until=None)
        begin = found.pop().start if same else start
        found.append(Segment(begin, stop, replace(now, until=stop)))
        start = stop
    return tuple(found)


def never_wins(windows: Sequence[Window]) -> tuple[str, ...]:
    """Names of windows without effect: they say nothing, never open, or later ones cover all they say whenever open.

    Only what is sure: a later window in another zone, or one with holidays, is taken to leave a gap.
    """
    return tuple(window.name for place, window in enumerate(windows) if _covered(window, windows[place + 1 :]))


def _said(settings: Hours) -> tuple[str, ...]:
    return tuple(name for name in SETTINGS if getattr(settings, name) is not None)


def _starts(window: Window, day: date) -> bool:
    return day.weekday() in window.days and day.isoformat() not in window.holidays


def _until(windows: Sequence[Window], now: datetime) -> datetime | None:
    """The next instant at which one of the windows opens or closes, or the horizon; None without windows."""
    if not windows:
        return None
    before = [is_open(window, now) for window in windows]
    edges = {edge for window in windows for edge in _edges(window, now) if edge > now}
    changed = (edge for edge in sorted(edges) if [is_open(window, edge) for window in windows] != before)
    return next(changed, now + HORIZON * DAY)


def _edges(window: Window, now: datetime) -> Iterator[datetime]:
    """Instants at which the window may open or close: its times on each day, and where its clocks jump."""
    zone = ZoneInfo(window.zone)
    first = now.astimezone(zone).date() - DAY
    for day in (first + n * DAY for n in range(HORIZON + 2)):
        for clock in (window.start, window.end):
            for fold in (0, 1):
                yield datetime.combine(day, clock, zone).replace(fold=fold).astimezone(UTC)
        yield from _jump(zone, day)


def _jump(zone: ZoneInfo, day: date) -> Iterator[datetime]:
    """The first instant of another offset, if the zone's clocks change on this day (to the second)."""
    low = datetime.combine(day, time(), zone).astimezone(UTC)
    high = low + DAY
    before = low.astimezone(zone).utcoffset()
    if high.astimezone(zone).utcoffset() == before:
        return
    while high - low > timedelta(seconds=1):
        half = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (half, high) if half.astimezone(zone).utcoffset() == before else (low, half)
    yield high


def _covered(window: Window, later: Sequence[Window]) -> bool:
    """Whether each thing the window says is said again by later windows at every second of the week it is open."""
    said = [(pool, name) for pool, settings in window.pools.items() for name in _said(settings)]
    return all(_hidden(window, [w for w in later if _says(w, pool, name)]) for pool, name in said)


def _says(window: Window, pool: str, name: str) -> bool:
    return pool in window.pools and name in _said(window.pools[pool])


def _hidden(window: Window, over: Sequence[Window]) -> bool:
    sure = [w for w in over if not w.holidays and (w.zone == window.zone or _always(w))]
    edges = sorted({edge for w in (window, *sure) for stretch in _stretches(w) for edge in stretch})
    return all(any(_holds(w, edge) for w in sure) for edge in edges if _holds(window, edge))


def _always(window: Window) -> bool:
    return window.start == window.end and len(window.days) == 7


def _stretches(window: Window) -> Iterable[tuple[timedelta, timedelta]]:
    """Its stretches of the week, from Monday 0:00; one that passes Sunday's end goes on at its beginning."""
    start, end = _clock(window.start), _clock(window.end)
    for day in sorted(window.days):
        opens, closes = day * DAY + start, day * DAY + end + (DAY if end <= start else timedelta())
        yield opens, min(closes, 7 * DAY)
        if closes > 7 * DAY:
            yield timedelta(), closes - 7 * DAY


def _clock(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)


def _holds(window: Window, moment: timedelta) -> bool:
    return any(start <= moment < end for start, end in _stretches(window))
