"""What a picture is made of: boxes, lines, areas, dots and words, y downwards, in pixels."""

from collections.abc import Sequence
from typing import Literal, Protocol

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

INK, MUTED, GRID, PAPER = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"


class Canvas(Protocol):
    """`tip`: what is told of a shape, where the medium can tell more when asked."""

    def box(self, x: float, y: float, width: float, height: float, fill: str, tip: str = "") -> None: ...

    def line(self, points: Sequence[Point], color: str, width: float = 1.0, dashed: bool = False) -> None: ...

    def area(self, points: Sequence[Point], fill: str) -> None: ...

    def dot(self, at: Point, radius: float, fill: str, edge: str, tip: str = "") -> None: ...

    def text(
        self, at: Point, text: str, size: float = 12, color: str = INK, anchor: Anchor = "start", bold: bool = False
    ) -> None: ...
