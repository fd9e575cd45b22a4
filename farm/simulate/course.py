"""What a replay looked like over time, in a few hundred stretches of equal length, however long the day was."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.simulate.score import percentile, wait
from farm.simulate.trace import Job

if TYPE_CHECKING:
    from farm.simulate.world import World

STRETCHES = 480
PARTS = 200  # of the waits, from the shortest to the longest


@dataclass(slots=True)
class Course:
    """Of each stretch (µs long, from `start` on): mean slots there were and mean at work, most jobs that waited."""

    start: int
    stretch: int
    slots: list[float] = field(default_factory=list)
    at_work: list[float] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # seconds, from the shortest to the longest
    _now: tuple[int, int, int, int] | None = None  # when, slots, at work, waiting

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> "Course":
        start = jobs[0].arrival
        end = max(job.arrival + job.duration for job in jobs)
        return cls(start, max(1, (end - start) // STRETCHES))

    def note(self, at: int, slots: int, at_work: int, waiting: int) -> None:
        """So it is from now on."""
        if self._now is not None:
            self._fill(at)
        self._now = at, slots, at_work, waiting
        self._at(at)
        place = (at - self.start) // self.stretch
        self.waited[place] = max(self.waited[place], waiting)

    def _at(self, at: int) -> None:
        lack = (at - self.start) // self.stretch + 1 - len(self.slots)
        if lack > 0:
            self.slots += [0.0] * lack
            self.at_work += [0.0] * lack
            self.waited += [0] * lack

    def _fill(self, until: int) -> None:
        assert self._now is not None
        at, slots, at_work, waiting = self._now
        self._at(until)
        while at < until:
            place = (at - self.start) // self.stretch
            end = min(until, self.start + (place + 1) * self.stretch)
            part = (end - at) / self.stretch
            self.slots[place] += slots * part
            self.at_work[place] += at_work * part
            self.waited[place] = max(self.waited[place], waiting)
            at = end

    def done(self, world: "World") -> "Course":
        """With how long its jobs waited."""
        waits = sorted(wait(world, job) for job in world.jobs)
        self.waits = [percentile(waits, part / PARTS) for part in range(PARTS + 1)]
        return self

    def paid_hours(self) -> list[float]:
        """Slot-hours until the end of each stretch."""
        total, found = 0.0, list[float]()
        for slots in self.slots:
            total += slots * self.stretch / 3_600e6
            found.append(total)
        return found
