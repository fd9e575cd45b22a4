"""Opening hours: what holds for a pool now, until when, and how the week looks.

The clock on the wall decides. A window is open whenever the wall clock of its zone shows a time inside it: an hour that
the clocks skip does not happen (the window opens when they jump), an hour that they repeat counts both times.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from schedules.model import Executor, Hours, Pool, Window

DAY = timedelta(days=1)
HORIZON = 8  # days ahead in which an edge is looked for; without one, look again then
SETTINGS = ("floor", "ceiling", "idle", "price_per_hour", "spare")
RULES = ("allowed", "price_cap", "lanes")


@dataclass(frozen=True, slots=True)
class OpenHours:
    """What holds for one pool at one instant: `window` is the last open one that says anything of it, or "".

    `by`: setting → the window that it comes from, where it is not the pool's own. `shut`: why it may order nothing.
    """

    floor: int
    ceiling: int
    idle: timedelta | None
    price_per_hour: Decimal
    window: str = ""
    until: datetime | None = None  # nothing changes by itself before; None: never
    spare: int = 0
    targeted: bool = False  # the floor is what its idle target makes of it
    shut: str = ""
    by: Mapping[str, str] = field(default_factory=dict)
    shadowed: tuple[str, ...] = ()  # windows that are open, and others win in all that they say of it

    def of(self, setting: str) -> str:
        """The window that a setting comes from, or ""."""
        return self.by.get(setting, "")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a week in which the same holds."""

    start: datetime
    end: datetime
    hours: OpenHours


def hours(pool: Pool, windows: Sequence[Window], now: datetime) -> OpenHours:
    """The pool's settings under the windows open now: of those that say something of a setting, the last wins."""
    mine = [window for window in windows if says(window, pool.name)]
    own = OpenHours(pool.floor, pool.ceiling, pool.idle, pool.price_per_hour, spare=pool.spare)
    if not mine:
        return own
    open_now = [window for window in mine if is_open(window, now)]
    found = replace(_said_by(own, pool.name, open_now), until=_until(mine, now))
    winners = set(found.by.values())
    return replace(found, shadowed=tuple(w.name for w in open_now if w.name not in winners))


def _said_by(found: OpenHours, pool: str, windows: Sequence[Window]) -> OpenHours:
    """With what these say, each over those before it."""
    by, rules = dict[str, str](), dict[str, Window]()
    for window in windows:
        said = window.pools.get(pool, Hours())
        names = _said(said)
        found = replace(found, **{name: getattr(said, name) for name in names}, window=window.name)
        by |= dict.fromkeys(names, window.name)
        rules |= {name: window for name in RULES if getattr(window, name) is not None}
    return replace(found, shut=_shut(pool, found, rules), by=by | {name: w.name for name, w in rules.items()})


def _shut(pool: str, found: OpenHours, rules: Mapping[str, Window]) -> str:
    if (allows := rules.get("allowed")) and pool not in (allows.allowed or ()):
        which = ", ".join(sorted(allows.allowed or ())) or "no pool"
        return f"window {allows.name} allows {which} and not pool {pool}"
    pays = rules.get("price_cap")
    if pays and pays.price_cap is not None and found.price_per_hour > pays.price_cap:
        return f"window {pays.name} pays {pays.price_cap} an hour at most, and pool {pool} costs {found.price_per_hour}"
    return ""


def aimed(found: OpenHours, pool: str, executors: Iterable[Executor]) -> OpenHours:
    """With the floor that its idle target makes of it: so many executors beside those of the pool that work."""
    if not found.spare:
        return found
    busy = sum(e.pool == pool and e.busy_slots > 0 and e.state != "draining" for e in executors)
    aim = busy + found.spare
    return replace(found, floor=aim, targeted=True) if aim > found.floor else found


def closed_by(pool: Pool, found: OpenHours) -> Pool:
    """The pool as the windows leave it: what a person says of it goes before."""
    return replace(pool, closed="schedule", closed_why=found.shut) if found.shut and not pool.closed else pool


def closed_lanes(windows: Sequence[Window], lanes: Iterable[str], now: datetime) -> Mapping[str, str]:
    """Lanes of which nothing is handed out now → the window that says so."""
    said = [w for w in windows if w.lanes is not None]
    last = next((w for w in reversed(said) if is_open(w, now)), None)
    return {} if last is None else {lane: last.name for lane in lanes if lane not in (last.lanes or ())}


def lane_opens(windows: Sequence[Window], lane: str, now: datetime) -> datetime | None:
    """When a lane that is closed now opens again; None where that is not within a year."""
    said, limit = [w for w in windows if w.lanes is not None], now + 366 * DAY
    at: datetime | None = now
    while at is not None and at < limit:
        if not closed_lanes(said, (lane,), at):
            return at
        at = _until(said, at)
    return None


def near(windows: Sequence[Window], now: datetime) -> tuple[Window, ...]:
    """The same as far as `HORIZON` reaches: a calendar of a hundred years need not stand in each snapshot."""
    days = frozenset((now + n * DAY).date().isoformat() for n in range(-3, HORIZON + 4))
    return tuple(
        replace(w, holidays=w.holidays & days, dates=None if w.dates is None else w.dates & days)
        if w.holidays or w.dates
        else w
        for w in windows
    )


def is_open(window: Window, now: datetime) -> bool:
    """Whether the window's wall clock shows a time inside it; after midnight it is still the day before."""
    wall = now.astimezone(ZoneInfo(window.zone))
    today, clock = wall.date(), wall.time()
    if window.start < window.end:
        return window.start <= clock < window.end and starts(window, today)
    return (clock >= window.start and starts(window, today)) or (clock < window.end and starts(window, today - DAY))


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


def says(window: Window, pool: str) -> bool:
    """Whether it says anything of this pool, or of all."""
    return bool(_said(window.pools.get(pool, Hours()))) or any(getattr(window, name) is not None for name in RULES)


def starts(window: Window, day: date) -> bool:
    """Whether it begins on this day, if its hour happens."""
    if day.weekday() not in window.days:
        return False
    named = day.isoformat()
    return named not in window.holidays and (window.dates is None or named in window.dates)


def _said(settings: Hours) -> tuple[str, ...]:
    return tuple(name for name in SETTINGS if getattr(settings, name) is not None)


def _until(windows: Sequence[Window], now: datetime) -> datetime | None:
    """The next instant at which one of the windows opens or closes, or the horizon; None without windows."""
    if not windows:
        return None
    before = [is_open(window, now) for window in windows]
    found = {edge for window in windows for edge in edges(window, now) if edge > now}
    changed = (edge for edge in sorted(found) if [is_open(window, edge) for window in windows] != before)
    return next(changed, now + HORIZON * DAY)


def edges(window: Window, now: datetime, days: int = HORIZON) -> Iterator[datetime]:
    """Instants at which the window may open or close: its times on each day, and where its clocks jump."""
    zone = ZoneInfo(window.zone)
    first = now.astimezone(zone).date() - DAY
    for day in (first + n * DAY for n in range(days + 2)):
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
