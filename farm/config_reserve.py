"""[reserve] of farm.toml: slots that some lanes leave to the others."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from farm.config_part import Misplaced, Part
from farm.model import BIG
from farm.wording import nearest
from schedules.model import Reserve


class ReserveConfig(Part):
    """`slots`, or `part` of all ceilings if that is more. Without either nothing is left to anybody."""

    slots: Annotated[int, Field(ge=0, le=BIG)] = 0
    part: Annotated[float, Field(ge=0, le=1)] = 0.0
    lanes: Annotated[tuple[str, ...], Field(min_length=1)] = ("bulk",)

    @property
    def reserves(self) -> bool:
        return self.slots > 0 or self.part > 0

    def reserve(self) -> Reserve:
        return Reserve(self.slots, self.part, frozenset(self.lanes))

    def check(self, known: Collection[str]) -> None:
        """Raises Misplaced for a lane that there is not."""
        for lane in self.lanes:
            if lane not in known:
                raise Misplaced(f"there is no lane {lane!r}; {nearest(lane, known)}", "reserve", "lanes")
