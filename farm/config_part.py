"""What every table of farm.toml is made of."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from farm.durations import BadDuration, parse_duration


class Misplaced(ValueError):
    """What is wrong with several keys together, and the key at which that is best seen."""

    def __init__(self, text: str, *place: str | int) -> None:
        super().__init__(text)
        self.place = place


class Part(BaseModel):
    """A table: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def duration(value: Any) -> Any:
    """`90s`, `10m`, or seconds as a number."""
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except BadDuration as error:
            raise ValueError(str(error)) from error
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return timedelta(seconds=value)
        except OverflowError as error:
            raise ValueError(f"{value} is no duration; write it like 90s, 10m or 1h30m") from error
    return value
