"""What has been paid by when: a line for each policy."""

from collections.abc import Mapping
from dataclasses import dataclass

from farm.simulate.course import Course
from farm.simulate.picture.canvas import GRID, INK, MUTED, Canvas
from farm.simulate.picture.scale import linear, steps

LEFT, RIGHT, TALL = 150, 880, 220
APART = 15  # between two names at the end of their lines


@dataclass(frozen=True, slots=True)
class Sums:
    courses: Mapping[str, Course]
    colors: Mapping[str, str]

    @property
    def height(self) -> float:
        return TALL + 44

    def draw(self, canvas: Canvas, top: float) -> None:
        canvas.text((20, top + 14), "Slot-hours paid for so far", 13, INK, bold=True)
        paid = {name: course.paid_hours() for name, course in self.courses.items()}
        ends = {name: hours[-1] if hours else 0.0 for name, hours in paid.items()}
        most = min(max(ends.values()), 3 * min(ends.values())) or 1.0
        longest = max(len(hours) for hours in paid.values())
        y = top + 36
        put, across = linear(0, most, y + TALL, y), linear(0, longest, LEFT, RIGHT)
        for value in steps(most):
            canvas.line([(LEFT, put(value)), (RIGHT, put(value))], GRID)
            canvas.text((LEFT - 8, put(value) + 4), f"{value:,g}", 11, MUTED, "end")
        for name, hours in paid.items():
            shown = [(across(n + 1), put(value)) for n, value in enumerate(hours) if value <= most]
            last = shown[-1][0] if shown else LEFT, put(min(ends[name], most))
            canvas.line([(LEFT, put(0)), *shown, last], self.colors[name], 2)
        self._names(canvas, {name: put(min(end, most)) for name, end in ends.items()}, ends)

    def _names(self, canvas: Canvas, places: Mapping[str, float], ends: Mapping[str, float]) -> None:
        at = float("-inf")
        for name in sorted(places, key=lambda name: (places[name], -ends[name])):
            at = max(places[name], at + APART)
            canvas.box(RIGHT + 8, at - 4, 8, 8, self.colors[name])
            canvas.text((RIGHT + 22, at + 4), f"{name} {ends[name]:,.0f} h", 12, INK)
