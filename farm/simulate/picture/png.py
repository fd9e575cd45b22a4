"""A canvas that becomes a PNG file, by Pillow."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from math import hypot
from typing import Any

from farm.refusal import Unavailable
from farm.simulate.picture.canvas import INK, PAPER, Anchor, Point

SHARP = 2  # pixels of the file for one of the picture
FINE = 2  # and so many times as large it is drawn, for smooth edges
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


class Png:
    """Raises Unavailable without Pillow."""

    def __init__(self, width: float, height: float) -> None:
        try:
            self._image, self._fonts = import_module("PIL.Image"), import_module("PIL.ImageFont")
            draw = import_module("PIL.ImageDraw")
        except ImportError as error:
            remedy = "pip install pillow, or name an .html file"
            raise Unavailable("a PNG needs Pillow, which is not installed", "--plot", remedy) from error
        self._scale = SHARP * FINE
        size = (round(width * self._scale), round(height * self._scale))
        self._made: Any = self._image.new("RGB", size, PAPER)
        self._draw: Any = draw.Draw(self._made)
        self._known = dict[float, Any]()

    def box(self, x: float, y: float, width: float, height: float, fill: str, tip: str = "") -> None:
        if width > 0 and height > 0:
            self._draw.rectangle(self._scaled([(x, y), (x + width, y + height)]), fill=fill)

    def line(self, points: Sequence[Point], color: str, width: float = 1.0, dashed: bool = False) -> None:
        for part in _dashes(points) if dashed else (points,):
            self._draw.line(self._scaled(part), fill=color, width=max(1, round(width * self._scale)), joint="curve")

    def area(self, points: Sequence[Point], fill: str) -> None:
        if len(points) > 2:
            self._draw.polygon(self._scaled(points), fill=fill)

    def dot(self, at: Point, radius: float, fill: str, edge: str, tip: str = "") -> None:
        (x, y), r = at, radius
        width = max(1, round(1.5 * self._scale))
        self._draw.ellipse(self._scaled([(x - r, y - r), (x + r, y + r)]), fill=fill, outline=edge, width=width)

    def text(
        self, at: Point, text: str, size: float = 12, color: str = INK, anchor: Anchor = "start", bold: bool = False
    ) -> None:
        font = self._known.get(size) or self._known.setdefault(size, self._fonts.load_default(size * self._scale))
        place = self._scaled([at])[0]
        weight = {"stroke_width": max(1, round(size * self._scale / 36))} if bold else {}
        self._draw.text(place, text, fill=color, font=font, anchor=_ANCHORS[anchor], **weight)

    def done(self) -> bytes:
        width, height = (side // FINE for side in self._made.size)
        out = BytesIO()
        self._made.resize((width, height), self._image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
        return out.getvalue()

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._scale, y * self._scale) for x, y in points]


def _dashes(points: Sequence[Point], on: float = 4, off: float = 3) -> Iterator[Sequence[Point]]:
    for (x, y), (to_x, to_y) in pairwise(points):
        length, at = hypot(to_x - x, to_y - y), 0.0
        while at < length:
            end = min(at + on, length)
            yield [(x + (to_x - x) * p / length, y + (to_y - y) * p / length) for p in (at, end)]
            at += on + off
