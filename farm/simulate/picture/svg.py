"""A canvas that becomes an SVG element."""

from collections.abc import Sequence
from html import escape

from farm.simulate.picture.canvas import INK, Anchor, Point


class Svg:
    """`text()` at the end."""

    def __init__(self) -> None:
        self._parts = list[str]()

    def box(self, x: float, y: float, width: float, height: float, fill: str, tip: str = "") -> None:
        size = f'width="{max(0, width):.1f}" height="{max(0, height):.1f}"'
        self._add(f'rect x="{x:.1f}" y="{y:.1f}" {size} rx="2" fill="{fill}"', tip)

    def line(self, points: Sequence[Point], color: str, width: float = 1.0, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        shape = f'fill="none" stroke="{color}" stroke-width="{width:g}" stroke-linejoin="round"{dash}'
        self._add(f'polyline points="{_points(points)}" {shape}')

    def area(self, points: Sequence[Point], fill: str) -> None:
        self._add(f'polygon points="{_points(points)}" fill="{fill}"')

    def dot(self, at: Point, radius: float, fill: str, edge: str, tip: str = "") -> None:
        self._add(
            f'circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" fill="{fill}" stroke="{edge}" stroke-width="1.5"',
            tip,
        )

    def text(
        self, at: Point, text: str, size: float = 12, color: str = INK, anchor: Anchor = "start", bold: bool = False
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        place = f'x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="{size:g}" text-anchor="{anchor}"'
        self._parts.append(f'<text {place} fill="{color}"{weight}>{escape(text)}</text>')

    def _add(self, element: str, tip: str = "") -> None:
        if tip:
            name = element.split(" ", 1)[0]
            self._parts.append(f"<{element}><title>{escape(tip)}</title></{name}>")
        else:
            self._parts.append(f"<{element}/>")

    def done(self, width: float, height: float) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"'
        return f'{head} font-family="system-ui, sans-serif">' + "\n".join(self._parts) + "</svg>"


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
