"""Draws docs/pictures/queue.svg (and queue-postgresql.svg) from benchmarks/results/queue.json: what a task costs,
against how many there are.

farm bench queue --json > benchmarks/results/queue.json
python -m benchmarks.plot_queue
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 70, 150, 30, 50
Place = Callable[[float], float]
COLOURS = {"submit": "#2a6f97", "claim": "#d1495b", "finish": "#3a7d44"}


def main() -> int:
    found = json.loads((HERE / "results" / "queue.json").read_text())
    for kind, rows in found["growth"].items():
        name = "queue.svg" if kind == "sqlite" else f"queue-{kind}.svg"
        (HERE.parent / "docs" / "pictures" / name).write_text(drawn(rows))
    return 0


def drawn(rows: Sequence[Mapping[str, float]]) -> str:
    """Both axes logarithmic: microseconds a task, whole lines wall time, broken ones CPU."""
    values = [row[f"{act}{kind}_us"] for row in rows for act in COLOURS for kind in ("", "_cpu")]
    low, high = (round_(math.log10(max(0.001, pick(values)))) for round_, pick in ((math.floor, min), (math.ceil, max)))
    left, right = math.log10(rows[0]["tasks"]), math.log10(rows[-1]["tasks"])

    def x(tasks: float) -> float:
        return LEFT + (math.log10(tasks) - left) / max(1e-9, right - left) * (WIDE - LEFT - RIGHT)

    def y(micros: float) -> float:
        return HIGH - BOTTOM - (math.log10(max(10**low, micros)) - low) / max(1, high - low) * (HIGH - TOP - BOTTOM)

    lines = [_grid(x, y, rows, low, high)]
    for act, colour in COLOURS.items():
        for kind, dash in (("", ""), ("_cpu", ' stroke-dasharray="5 4"')):
            points = " ".join(f"{x(row['tasks']):.1f},{y(row[f'{act}{kind}_us']):.1f}" for row in rows)
            lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dash} points="{points}"/>')
        end = y(rows[-1][f"{act}_us"])
        lines.append(f'<text x="{WIDE - RIGHT + 8}" y="{end + 4:.1f}" fill="{colour}">{act}</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>', *lines, "</svg>\n"])


def _grid(x: Place, y: Place, rows: Sequence[Mapping[str, float]], low: int, high: int) -> str:
    out = ['<g stroke="#ddd" fill="#444">']
    for power in range(low, high + 1):
        at = y(10.0**power)
        out.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDE - RIGHT}" y2="{at:.1f}"/>')
        out.append(f'<text stroke="none" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for row in rows:
        at = x(row["tasks"])
        out.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HIGH - BOTTOM}"/>')
        text = f"{row['tasks']:,}"
        out.append(f'<text stroke="none" x="{at:.1f}" y="{HIGH - BOTTOM + 18}" text-anchor="middle">{text}</text>')
    said = "tasks of one array; µs a task: whole lines wall time, broken lines CPU"
    out.append(f'<text stroke="none" x="{LEFT}" y="{HIGH - 10}">{said}</text></g>')
    return "\n".join(out)


if __name__ == "__main__":
    raise SystemExit(main())
