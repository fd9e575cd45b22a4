"""[[schedules]] of farm.toml: what a window may say, and what makes no sense of several together."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, field_validator

from farm.config_part import Misplaced, Part, duration
from farm.days import Days, read_days
from farm.opening import days, span, zone
from farm.wording import nearest
from schedules.model import Hours, Window
from schedules.shadows import covering, never_opens, never_wins, says_nothing

OF_A_POOL = ("floor", "ceiling", "idle", "idle_target", "price_per_hour")


class HoursConfig(Part):
    """What a window says of a pool."""

    floor: Annotated[int, Field(ge=0)] | None = None
    ceiling: Annotated[int, Field(ge=0)] | None = None
    idle: timedelta | None = None
    idle_target: Annotated[int, Field(ge=0)] | None = None
    price_per_hour: Annotated[Decimal, Field(ge=0)] | None = None

    _parse = field_validator("idle", mode="before")(duration)

    def hours(self) -> Hours:
        return Hours(self.floor, self.ceiling, self.idle, self.price_per_hour, self.idle_target)


def _days(value: Any, about: ValidationInfo) -> Days:
    return read_days(value, (about.context or {}).get("folder"))


DaysField = Annotated[Days, PlainValidator(_days), PlainSerializer(lambda found: list(found.said))]


class WindowConfig(Part):
    """Named opening hours: days `mon-fri` or `sat,sun`, hours `19:00-07:00` (may cross midnight).

    `dates`: those on which alone it begins; `holidays`: those on which it does not.
    """

    name: Annotated[str, Field(min_length=1, max_length=80)]
    zone: str = "UTC"
    days: str = "mon-sun"
    hours: str = "00:00-24:00"
    dates: DaysField | None = None
    holidays: DaysField = Days()
    pools: Mapping[str, HoursConfig] = {}
    pools_allowed: tuple[str, ...] | None = None
    price_cap: Annotated[Decimal, Field(ge=0)] | None = None
    lanes_open: tuple[str, ...] | None = None

    @field_validator("days", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return ",".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value

    @field_validator("hours", mode="before")
    @classmethod
    def _one_span(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError(
                "a window has one span of hours; write one text such as '08:00-12:00', and a window for each"
            )
        return value

    @field_validator("pools", mode="before")
    @classmethod
    def _tables(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError("pools are tables with what holds for each; the pools that may order are pools_allowed")
        return value

    @field_validator("zone", "days", "hours")
    @classmethod
    def _makes_sense(cls, value: str, about: ValidationInfo) -> str:
        {"zone": zone, "days": days, "hours": span}[str(about.field_name)](value)
        return value

    def window(self) -> Window:
        start, end = span(self.hours)
        pools = {name: hours.hours() for name, hours in self.pools.items()}
        return Window(
            *(self.name, self.zone, days(self.days), start, end, pools),
            holidays=self.holidays.days,
            dates=None if self.dates is None else self.dates.days,
            allowed=None if self.pools_allowed is None else frozenset(self.pools_allowed),
            price_cap=self.price_cap,
            lanes=None if self.lanes_open is None else frozenset(self.lanes_open),
        )


def check_windows(said: Sequence[WindowConfig], pools: Mapping[str, tuple[int, int]], lanes: Collection[str]) -> None:
    """Raises Misplaced. `pools`: name → the slots of an executor of it, and its ceiling in slots."""
    seen: dict[str, int] = {}
    for number, window in enumerate(said):
        if window.name in seen:
            what = f"two windows are named {window.name!r}; give each its own name, so that it can be told which rules"
            raise Misplaced(what, "schedules", number, "name")
        seen[window.name] = number
        _check_names(number, window, pools, lanes)
        _check_floors(number, said, pools)
    _check_effects([window.window() for window in said])


def _check_names(number: int, window: WindowConfig, pools: Collection[str], lanes: Collection[str]) -> None:
    for pool in window.pools:
        if pool not in pools:
            what = f"there is no pool {pool!r}; {nearest(pool, pools)}"
            raise Misplaced(what, "schedules", number, "pools", pool)
    for key, kind, names in (("pools_allowed", "pool", pools), ("lanes_open", "lane", lanes)):
        for name in getattr(window, key) or ():
            if name not in names:
                raise Misplaced(f"there is no {kind} {name!r}; {nearest(name, names)}", "schedules", number, key)


def _check_floors(number: int, said: Sequence[WindowConfig], pools: Mapping[str, tuple[int, int]]) -> None:
    """A floor that no ceiling ever lets be kept; a ceiling may well be below the floor of other hours."""
    for name, hours in said[number].pools.items():
        size, own = pools[name]
        others = [w.pools[name].ceiling for w in said if name in w.pools]
        most = max([own, *(c for c in others if c is not None)]) if hours.ceiling is None else hours.ceiling
        for key in ("floor", "idle_target"):
            if (least := getattr(hours, key) or 0) * size > most:
                what = f"{key} = {least} of pool {name!r} takes {least * size} slots, and its ceiling is {most}"
                raise Misplaced(f"{what}; raise the ceiling or say less", "schedules", number, "pools", name, key)


def _check_effects(windows: Sequence[Window]) -> None:
    effects = [len(never_wins(windows[place:])) for place in range(len(windows) + 1)]
    for number, window in enumerate(windows):
        if says_nothing(window):
            what = f"the window {window.name!r} can never win: it says nothing"
            remedy = "say floor, ceiling, … below [schedules.pools.NAME], or pools_allowed, price_cap or lanes_open"
            raise Misplaced(f"{what}; {remedy}", "schedules", number, "name")
        if never_opens(window):
            what = f"the window {window.name!r} never opens: each of its dates is a holiday or none of its days"
            raise Misplaced(f"{what}; correct dates, days or holidays", "schedules", number, "name")
        if effects[number] > effects[number + 1]:
            over = ", ".join(repr(name) for name in covering(windows, number))
            what = f"the window {window.name!r} can never win: {over} below it say all of that whenever it is open"
            raise Misplaced(f"{what}; move it below them, or remove it", "schedules", number, "name")
