"""In one claim: slots that some lanes leave to the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, func, select

from farm import tables as t
from schedules.reserve import Allowed

_USED = (
    select(t.Attempt.job, t.Attempt.step, func.sum(t.Attempt.slots).label("slots"))
    .join(t.Job, t.Job.id == t.Attempt.job)
    .where(t.Attempt.finished.is_(None), t.Job.lane.in_(bindparam("lanes", expanding=True)))
    .group_by(t.Attempt.job, t.Attempt.step)
)
MANY = 1 << 40


@dataclass(slots=True)
class Reserved:
    """`used`: what the lanes have, without what is so short that it keeps nobody waiting.

    Who is `barred` is owed no slot beside the other lanes, but has its place among the owners of its own: else narrow
    tasks would overtake a wide one for ever.
    """

    most: Allowed | None = None
    used: int = 0
    short: bool = False  # there are tasks that are not counted
    barred: set[tuple[str, str]] = field(default_factory=set)  # lanes and owners

    @staticmethod
    def look(tx: Connection, most: Allowed | None, depth: Mapping[tuple[int, int], int]) -> "Reserved":
        """`depth` names the steps whose tasks are short."""
        if most is None or not most.lanes:
            return Reserved(most)
        rows = tx.execute(_USED, {"lanes": sorted(most.lanes)})
        return Reserved(most, sum(int(row.slots) for row in rows if (row.job, row.step) not in depth), bool(depth))

    def paid(self, pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those lanes and owners whose money is not spent."""
        if self.most is None or not self.most.broke:
            return pairs
        return {(lane, owner) for lane, owner in pairs if self.most.pays(owner, lane)}

    @property
    def full(self) -> frozenset[str]:
        """Lanes of which nothing at all may begin."""
        if self.most is None or self.short or self.most.room(self.used, 1):
            return frozenset()
        return self.most.lanes

    def room(self, lane: str, slots: int) -> int:
        """How many more such tasks may begin. Once somebody was barred none does, in this claim."""
        if self.most is None or lane not in self.most.lanes:
            return MANY
        return 0 if self.barred else self.most.room(self.used, slots)

    def begin(self, pair: tuple[str, str], slots: int) -> bool:
        """Whether such a task of this lane and owner may."""
        may = self.room(pair[0], slots) > 0
        if not may:
            self.barred.add(pair)
        return may

    def take(self, lane: str, slots: int) -> None:
        if self.most is not None and lane in self.most.lanes:
            self.used += slots
