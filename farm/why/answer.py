"""The form of every answer, and how numbers are said in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from farm.why.cause import Cause


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


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
