"""The same walk as in `expansion` for tasks of one slot each, none like another: two heaps instead of closed form.

A row of 10,000 different tasks is walked in the time of 10,000 pushes on a heap.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace

from schedules.demand import Row
from schedules.placement import Room


def alike(rows: Iterable[Row]) -> bool:
    """Whether each row is one task of one slot."""
    return all(row.count == 1 and row.slots == 1 for row in rows)


class Lineup:
    """Slots by the instant (µs from now) at which they are free: certain ones, and those that are only expected."""

    __slots__ = ("certain", "expected")

    def __init__(self, rooms: Iterable[Room]) -> None:
        self.certain: list[int] = []
        self.expected: list[int] = []
        for at, slots, copies, certain in rooms:
            (self.certain if certain else self.expected).extend([at] * (slots * copies))
        heapify(self.certain)
        heapify(self.expected)

    def add(self, at: int, slots: int) -> None:
        """Certain ones more."""
        for _ in range(slots):
            heappush(self.certain, at)

    def take(self, predicted: int, until: int) -> bool:
        """Give a task the earliest slot, if that is free by `until`, else the earliest certain one."""
        sure, likely = self.certain, self.expected
        if likely and likely[0] <= until and not (sure and sure[0] < likely[0]):
            heapreplace(likely, likely[0] + predicted)
            return True
        if not sure:
            return False
        heappush(likely, heappop(sure) + predicted)
        return True

    def free(self, until: int) -> int:
        """Slots free up to then."""
        return sum(at <= until for at in self.certain) + sum(at <= until for at in self.expected)
