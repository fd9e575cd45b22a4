"""One picture of a replay: costs and waits side by side, the days, the sums; as a page or as PNG."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from farm.durations import format_duration
from farm.refusal import Refusal
from farm.simulate.course import Course
from farm.simulate.lived import AS_IT_WAS
from farm.simulate.picture.canvas import INK, MUTED, Canvas
from farm.simulate.picture.panels import Panels
from farm.simulate.picture.png import Png
from farm.simulate.picture.rows import Rows
from farm.simulate.picture.sums import Sums
from farm.simulate.picture.svg import Svg

WIDTH, HEAD, GAP = 1080, 76, 26
OWN = {"thrifty": "#0f766e", "default": "#2563eb", "fast": "#7c3aed", "base": "#be185d", "as it was": "#111827"}
OTHERS = ("#64748b", "#a16207", "#57534e", "#0e7490", "#7f1d1d", "#4d7c0f", "#525252")
MOST_PANELS = 12

Draw = Callable[[Mapping[str, Any], Mapping[str, Course]], None]


def drawing(file: str) -> Draw:
    """What draws into it. Raises Refusal at once where that would fail after a long replay."""
    path = Path(file)
    kind = path.suffix.lower()
    if kind not in (".html", ".png"):
        raise Refusal(f"{file[:100]!r} is neither .html nor .png", "--plot", "name one like days.html")
    if not path.parent.is_dir() or path.is_dir():
        raise Refusal(f"there is no folder for {file[:100]!r}", "--plot", "name a file in a folder that is there")
    if kind == ".png":
        Png(1, 1)

    def draw(found: Mapping[str, Any], courses: Mapping[str, Course]) -> None:
        made = Report.of(found, courses)
        try:
            path.write_bytes(made.png() if kind == ".png" else made.page().encode())
        except OSError as error:
            raise Refusal(f"the plot can't be written: {error.strerror}", file, "name another file") from error

    return draw


@dataclass(frozen=True, slots=True)
class Report:
    """`found` is what `farm simulate --json` prints."""

    found: Mapping[str, Any]
    parts: Sequence[Rows | Panels | Sums]

    @classmethod
    def of(cls, found: Mapping[str, Any], courses: Mapping[str, Course]) -> "Report":
        policies = sorted(found["policies"], key=lambda policy: float(policy["cost_ratio"]))
        colors = _colors([policy["name"] for policy in policies])
        drawn = {policy["name"]: courses[policy["name"]] for policy in policies if policy["name"] in courses}
        shown = dict([*drawn.items()][:MOST_PANELS])
        rows = Rows(policies, colors, found["bound_ratio_b1"], found["bound_wait_s"])
        return cls(found, [rows, Panels(shown, colors), Sums(drawn, colors)])

    @property
    def height(self) -> float:
        return HEAD + sum(part.height + GAP for part in self.parts)

    def draw(self, canvas: Canvas) -> None:
        canvas.text((20, 36), self.title, 22, INK, bold=True)
        canvas.text((20, 58), self.subtitle, 13, MUTED)
        y = float(HEAD)
        for part in self.parts:
            part.draw(canvas, y)
            y += part.height + GAP

    @property
    def title(self) -> str:
        """The cheapest beside how it went in truth, or beside the others."""
        policies = sorted(self.found["policies"], key=lambda policy: float(policy["cost_ratio"]))
        lived = next((policy for policy in policies if policy["name"] == AS_IT_WAS), None)
        first, others = policies[0], [policy["cost_ratio"] for policy in policies[1:]]
        said = f"{first['name']} pays {first['cost_ratio']:.3f} h for an hour of work"
        if not others:
            return said
        if lived is not None and lived is not first:
            return f"{said}; {lived['cost_ratio']:.3f} h were paid"
        span = f"{others[0]:.3f} h" if len(others) == 1 else f"{others[0]:.3f} to {others[-1]:.3f} h"
        return f"{said}; {'another' if len(others) == 1 else 'others'} {span}"

    @property
    def subtitle(self) -> str:
        work = format_duration(self.found["work_seconds"])
        return (
            f"{self.found['jobs']:,} jobs, {work} of work, replayed under {len(self.found['policies'])} policies. UTC."
        )

    def png(self) -> bytes:
        canvas = Png(WIDTH, self.height)
        self.draw(canvas)
        return canvas.done()

    def page(self) -> str:
        canvas = Svg()
        self.draw(canvas)
        return PAGE.format(title=escape(self.title), picture=canvas.done(WIDTH, self.height), rows=self._table())

    def _table(self) -> str:
        return "\n".join(_line(policy) for policy in self.found["policies"])


def _colors(names: Sequence[str]) -> dict[str, str]:
    others = [name for name in names if name not in OWN]
    return {name: OWN.get(name) or OTHERS[others.index(name) % len(OTHERS)] for name in names}


def _line(policy: Mapping[str, Any]) -> str:
    waits = (format_duration(round(policy[key], 1)) for key in ("wait_p50", "wait_p95", "wait_max"))
    over, zero = policy["over_bound"], policy["zero_after_s"]
    cells = (
        policy["name"],
        f"{policy['cost_ratio']:.4f}",
        "" if over is None else f"{over:.4f}",
        f"{policy['paid_machine_s'] / 3600:,.1f}",
        f"{policy['cost']:,.2f}",
        *waits,
        f"{policy['launches']:,}",
        f"{policy['peak']:,}",
        "" if zero is None else format_duration(round(zero, 1)),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; background: #f3f4f6; color: #1f2937; font: 14px/1.4 system-ui, sans-serif }}
main {{ max-width: 1120px; margin: 24px auto; padding: 12px 20px 28px; background: #fff; border-radius: 8px;
  box-shadow: 0 1px 4px rgb(0 0 0 / 12%) }}
svg {{ width: 100%; height: auto }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }}
th, td {{ padding: 5px 10px; text-align: right; border-bottom: 1px solid #e5e7eb; white-space: nowrap }}
th {{ color: #6b7280; font-weight: 500 }}
th:first-child, td:first-child {{ text-align: left; font-weight: 600 }}
p {{ color: #6b7280 }}
@media print {{ body {{ background: #fff }} main {{ box-shadow: none; margin: 0 }} }}
</style>
</head>
<body>
<main>
{picture}
<div class="wide"><table>
<thead><tr><th>policy</th><th>cost ÷ work</th><th>÷ bound</th><th>machine-hours</th><th>price</th><th>wait p50</th>
<th>p95</th><th>longest</th><th>launches</th><th>peak</th><th>zero after</th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
<p>By farm simulate: the farm's own policy and order of work; others by their published rules. No duration was known
before it ended.</p>
</main>
</body>
</html>
"""
