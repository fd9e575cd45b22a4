"""A line for each policy: what it paid, and how long its jobs waited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farm.durations import format_duration
from farm.simulate.picture.canvas import GRID, INK, MUTED, Canvas
from farm.simulate.picture.scale import linear, logarithmic, steps, waits

ROW = 30
NAMES, COST, FIGURES, WAITS, END = 20, 150, 520, 690, 1040  # x
TALLEST = 3.0  # times the cheapest: bars beyond are cut, with their number beside them


@dataclass(frozen=True, slots=True)
class Rows:
    """`policies` as `farm simulate --json` gives them; `colors` by name; `bound` ÷ work, if it is known."""

    policies: Sequence[Mapping[str, Any]]
    colors: Mapping[str, str]
    bound: float | None
    bound_wait_s: float | None

    @property
    def height(self) -> float:
        return 74 + ROW * len(self.policies)

    def draw(self, canvas: Canvas, top: float) -> None:
        canvas.text((COST, top + 14), "Paid for each hour of work, in hours", 13, INK, bold=True)
        canvas.text((WAITS, top + 14), "How long jobs wait", 13, INK, bold=True)
        self._key(canvas, top + 10)
        self._costs(canvas, top + 34)
        self._waits(canvas, top + 34)

    def _key(self, canvas: Canvas, y: float) -> None:
        for x, words in ((WAITS + 160, "half of them"), (WAITS + 250, "95 of 100"), (WAITS + 328, "all")):
            canvas.text((x + 10, y + 4), words, 11, MUTED)
        canvas.dot((WAITS + 160, y), 4, "#ffffff", MUTED)
        canvas.dot((WAITS + 250, y), 4, MUTED, MUTED)
        canvas.line([(WAITS + 330, y - 5), (WAITS + 330, y + 5)], MUTED, 2)

    def _costs(self, canvas: Canvas, top: float) -> None:
        least = min(policy["cost_ratio"] for policy in self.policies)
        most = min(max(policy["cost_ratio"] for policy in self.policies), TALLEST * least)
        put = linear(0, most, COST, FIGURES)
        bottom = top + ROW * len(self.policies)
        for value in steps(most):
            canvas.line([(put(value), top), (put(value), bottom)], GRID)
            canvas.text((put(value), bottom + 16), f"{value:g}", 11, MUTED, "middle")
        for number, policy in enumerate(self.policies):
            y, ratio, name = top + ROW * number, policy["cost_ratio"], policy["name"]
            canvas.text((NAMES, y + 20), name, 13, INK, bold=True)
            tip = f"{name}: {policy['paid_machine_s'] / 3600:,.1f} machine-hours, {policy['launches']:,} launches"
            canvas.box(COST, y + 6, put(min(ratio, most)) - COST, ROW - 12, self.colors[name], tip)
            if ratio > most:  # the bar is cut
                canvas.line([(FIGURES - 16, y + ROW - 3), (FIGURES - 6, y + 3)], "#ffffff", 4)
            more = f"  +{ratio / least - 1:.0%}" if ratio > 1.005 * least else ""
            canvas.text((FIGURES + 8, y + 20), f"{ratio:.3f}{more}", 13, INK)
        if self.bound is not None:
            x = put(self.bound)
            canvas.line([(x, top - 4), (x, bottom + 24)], INK, 1.2, dashed=True)
            waits = format_duration(self.bound_wait_s or 0)
            said = f"{self.bound:.3f}: no schedule in which all waits are {waits} at most costs less"
            canvas.text((x + 5, bottom + 34), said, 11, INK)

    def _waits(self, canvas: Canvas, top: float) -> None:
        marks = waits(max(policy["wait_max"] for policy in self.policies))
        put = logarithmic(1, max(marks[-1], 2), WAITS, END)
        bottom = top + ROW * len(self.policies)
        for mark in marks:
            canvas.line([(put(mark), top), (put(mark), bottom)], GRID)
            canvas.text((put(mark), bottom + 16), _mark(mark), 11, MUTED, "middle")
        for number, policy in enumerate(self.policies):
            y, color = top + ROW * number + ROW / 2, self.colors[policy["name"]]
            half, most, longest = (put(policy[key]) for key in ("wait_p50", "wait_p95", "wait_max"))
            canvas.line([(half, y), (longest, y)], color, 2)
            canvas.line([(longest, y - 6), (longest, y + 6)], color, 2)
            spans = [format_duration(round(policy[key], 1)) for key in ("wait_p50", "wait_p95", "wait_max")]
            tip = f"{policy['name']}: half begin within {spans[0]}, 95 of 100 within {spans[1]}, all within {spans[2]}"
            canvas.dot((half, y), 4.5, "#ffffff", color, tip)
            canvas.dot((most, y), 5, color, color, tip)


def _mark(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else format_duration(round(seconds))
