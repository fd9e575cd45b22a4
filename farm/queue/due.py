"""When the steps of a job are due: by its lane, its priority and its deadline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from schedules.model import Lane
from schedules.ordering import PRIORITY_LIMIT, PRIORITY_STEP, due


class Stage(NamedTuple):
    """A step as far as its due date goes; `after` names earlier ones."""

    name: str
    after: Sequence[str]
    predicted_s: float


class Wish(NamedTuple):
    """How urgent a job is."""

    lane: Lane
    priority: int
    deadline: datetime | None


def dues(stages: Sequence[Stage], wish: Wish, arrival: datetime) -> list[datetime]:
    """As lane and priority say, or earlier if what comes after would else miss the deadline.

    Never earlier than by the highest priority, so that a deadline starves nobody.
    """
    left = _left(stages)
    earliest = arrival - PRIORITY_LIMIT * PRIORITY_STEP
    return [_due(stage, wish, arrival, earliest, left[stage.name]) for stage in stages]


def _due(stage: Stage, wish: Wish, arrival: datetime, earliest: datetime, left: timedelta) -> datetime:
    found = due(arrival, timedelta(seconds=stage.predicted_s), wish.lane, wish.priority)
    if wish.deadline is None:
        return found
    return min(found, max(earliest, wish.deadline - left))


def _left(stages: Sequence[Stage]) -> dict[str, timedelta]:
    """Of each step how long a task of it and the longest chain behind it take, were nothing to wait."""
    behind = {stage.name: timedelta() for stage in stages}
    left: dict[str, timedelta] = {}
    for stage in reversed(stages):  # whoever comes after it stands behind it
        left[stage.name] = timedelta(seconds=stage.predicted_s) + behind[stage.name]
        for before in stage.after:
            behind[before] = max(behind[before], left[stage.name])
    return left
