"""Answers about opening hours."""

from collections.abc import Mapping
from typing import Any

from farm.api.shape import Shape


class Hours(Shape):
    """What holds for a pool; `by`: setting → the window it comes from; `shut`: why it may order nothing."""

    floor: int
    idle_target: int
    ceiling: int
    idle_s: float | None
    price_per_hour: str
    window: str | None
    by: Mapping[str, str]
    shadowed: list[str]
    shut: str
    until: str | None


class Stretch(Shape):
    """A part of a week in which the same holds for a pool."""

    start: str
    end: str
    floor: int
    idle_target: int
    ceiling: int
    idle_s: float | None
    price_per_hour: str
    window: str
    by: Mapping[str, str]
    shadowed: list[str]
    shut: str
    lanes_open: list[str] | None


class LaneHours(Shape):
    """`window`: the one that closes it."""

    open: bool
    window: str
    opens: str | None


class Schedule(Shape):
    """`now`, `open` and `lanes` are what holds `at`."""

    windows: list[Mapping[str, Any]]
    at: str
    now: Mapping[str, Hours]
    open: list[str]
    lanes: Mapping[str, LaneHours]
    zone: str
    monday: str
    week: Mapping[str, list[Stretch]]


class PoolThen(Hours):
    closed: str
    executors: int
    slots: int


class Left(Shape):
    """What waits without an executor on its way."""

    job: str
    slots: int
    why: str


class Plan(Shape):
    """What would be decided `at` with the backlog and the executors of now. `actions`: `kind` and `why`, and what each
    is about."""

    at: str
    open: list[str]
    pools: Mapping[str, PoolThen]
    lanes: Mapping[str, LaneHours]
    waiting: int
    running: int
    actions: list[Mapping[str, Any]]
    unmet: list[Left]
    look_again: str | None
