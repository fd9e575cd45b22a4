"""The form of every answer, and how numbers are said in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from farm.why.cause import Cause
from schedules.windows import HORIZON


@dataclass(frozen=True, slots=True)
class Why:
    """`cause` is a word for programs, `rule` what decides, `numbers` what it decided on, `next` what will change it."""

    about: str
    state: str
    cause: Cause
    rule: str
    sentence: str
    next: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


def at(moment: datetime | None) -> str:
    """`12:00:05 UTC on Jan 05`; the data beside it has the exact time."""
    return f"{moment:%H:%M:%S UTC on %b %d}" if moment else "some time"


def change(until: datetime | None, now: datetime) -> str:
    """When a window opens or closes next, as far as it was looked for; "" without windows."""
    if until is None:
        return ""
    far = until >= now + timedelta(days=HORIZON)
    return f"no window opens or closes within {HORIZON} days" if far else f"the hours change at {at(until)}"


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
