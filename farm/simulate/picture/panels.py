"""Over time, for each policy: slots that are paid for, those of them at work, and what waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from farm.clock import from_micros
from farm.simulate.course import Course
from farm.simulate.picture.canvas import GRID, INK, MUTED, Canvas
from farm.simulate.picture.scale import Put, linear, steps, ticks

LEFT, RIGHT = 150, 1040
SLOTS, GAP, BACKLOG, BETWEEN = 62, 4, 24, 22
IDLE, WAITING = "#dbe3ee", "#f59e0b"
PANEL = SLOTS + GAP + BACKLOG + BETWEEN


@dataclass(frozen=True, slots=True)
class Panels:
    """All on the same scales, so that they can be compared."""

    courses: Mapping[str, Course]
    colors: Mapping[str, str]

    @property
    def height(self) -> float:
        return 52 + PANEL * len(self.courses)

    def draw(self, canvas: Canvas, top: float) -> None:
        canvas.text((20, top + 14), "Over time", 13, INK, bold=True)
        self._key(canvas, top + 14)
        most = max(max(course.slots, default=0) for course in self.courses.values()) or 1
        waiting = max(max(course.waited, default=0) for course in self.courses.values()) or 1
        across = self._across()
        for number, (name, course) in enumerate(self.courses.items()):
            y = top + 34 + PANEL * number
            self._frame(canvas, y, most)
            self._slots(canvas, name, course, across, linear(0, most, y + SLOTS, y))
            self._backlog(canvas, course, across, linear(0, waiting, 0, BACKLOG), y + SLOTS + GAP)
            self._words(canvas, name, course, y)
        self._times(canvas, across, top + 34, top + 34 + PANEL * len(self.courses))

    def _key(self, canvas: Canvas, y: float) -> None:
        for x, color, words in (
            (LEFT, "#2563eb", "slots at work"),
            (LEFT + 120, IDLE, "booting or idle: paid all the same"),
            (LEFT + 360, WAITING, "jobs that wait, at most"),
        ):
            canvas.box(x, y - 10, 12, 12, color)
            canvas.text((x + 18, y), words, 12, MUTED)

    def _across(self) -> Put:
        first = next(iter(self.courses.values()))
        longest = max(len(course.slots) for course in self.courses.values())
        return linear(first.start, first.start + longest * first.stretch, LEFT, RIGHT)

    def _frame(self, canvas: Canvas, y: float, most: float) -> None:
        put = linear(0, most, y + SLOTS, y)
        for value in steps(most, 2):
            canvas.line([(LEFT, put(value)), (RIGHT, put(value))], GRID)
            canvas.text((LEFT - 6, put(value) + 4), f"{value:g}", 10, MUTED, "end")

    def _slots(self, canvas: Canvas, name: str, course: Course, across: Put, put: Put) -> None:
        for values, color in ((course.slots, IDLE), (course.at_work, self.colors[name])):
            canvas.area(_stairs(course, values, across, put), color)

    def _backlog(self, canvas: Canvas, course: Course, across: Put, tall: Put, y: float) -> None:
        canvas.line([(LEFT, y), (RIGHT, y)], GRID)
        canvas.area(_stairs(course, course.waited, across, lambda value: y + tall(value)), WAITING)

    def _words(self, canvas: Canvas, name: str, course: Course, y: float) -> None:
        paid, work = sum(course.slots), sum(course.at_work)
        canvas.text((20, y + 16), name, 13, INK, bold=True)
        canvas.text((20, y + 34), f"{1 - work / paid:.0%} unused" if paid else "", 12, MUTED)
        canvas.text((20, y + SLOTS + GAP + 14), f"up to {max(course.waited, default=0):,} wait", 11, MUTED)

    def _times(self, canvas: Canvas, across: Put, top: float, bottom: float) -> None:
        first = next(iter(self.courses.values()))
        longest = max(len(course.slots) for course in self.courses.values())
        start = from_micros(first.start)
        for tick in ticks(start, start + timedelta(microseconds=longest * first.stretch)):
            x = across(first.start + (tick.at - start) / timedelta(microseconds=1))
            canvas.line([(x, top), (x, bottom - BETWEEN + 6)], GRID)
            canvas.text((x, bottom + 2), tick.text, 11, MUTED, "middle")


def _stairs(course: Course, values: "list[float] | list[int]", across: Put, put: Put) -> list[tuple[float, float]]:
    """The outline of a stretch after the other, down to nothing at both ends."""
    points = [(across(course.start), put(0))]
    for number, value in enumerate(values):
        start = course.start + number * course.stretch
        points += [(across(start), put(value)), (across(start + course.stretch), put(value))]
    return [*points, (points[-1][0], put(0))]
