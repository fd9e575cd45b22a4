"""Looking at rendered frames: pixel hashes, small pictures, pictures in a terminal."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

RESET = "\x1b[0m"


class NoPicture(ValueError):
    """The bytes are no picture that can be read."""


def pixels(picture: Path | bytes) -> str:
    """sha256 in hex of size and decoded RGBA pixels. Files differ in dates though the pictures are equal.

    Raises NoPicture.
    """
    image = _open(picture).convert("RGBA")
    return hashlib.sha256(f"{image.width}x{image.height}\n".encode() + image.tobytes()).hexdigest()


def thumbnail(picture: Path | bytes, width: int = 160) -> bytes:
    """A PNG of at most `width` pixels across. Raises NoPicture."""
    out = io.BytesIO()
    _fit(_open(picture), width).save(out, "PNG", optimize=True)
    return out.getvalue()


def in_terminal(picture: Path | bytes, columns: int = 32) -> str:
    """The picture in half blocks, two pixels a character, for a terminal of 24-bit colours. Raises NoPicture."""
    image = _fit(_open(picture), columns)
    lines = []
    for y in range(0, image.height - 1, 2):
        cells = (_cell(image.getpixel((x, y)), image.getpixel((x, y + 1))) for x in range(image.width))
        lines.append("".join(cells) + RESET)
    return "\n".join(lines)


def side_by_side(blocks: Sequence[str], gap: str = "  ") -> str:
    """Pictures from `in_terminal` next to each other, the tallest one last where heights differ."""
    rows = zip_longest(*(block.split("\n") for block in sorted(blocks, key=lambda b: b.count("\n"))), fillvalue="")
    return "\n".join(gap.join(row) for row in rows)


def contact_sheet(frames: Iterable[Path | bytes], columns: int = 6, width: int = 160, gap: int = 4) -> bytes:
    """A PNG with all frames in rows. Raises NoPicture, also when there are none."""
    from PIL import Image

    small = [_fit(_open(frame), width) for frame in frames]
    if not small:
        raise NoPicture("no frames for a contact sheet")
    wide, high = max(i.width for i in small) + gap, max(i.height for i in small) + gap
    columns = min(columns, len(small))
    sheet = Image.new("RGB", (wide * columns + gap, high * -(-len(small) // columns) + gap))
    for number, image in enumerate(small):
        sheet.paste(image, (gap + number % columns * wide, gap + number // columns * high))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _open(picture: Path | bytes) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
        image.load()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        where = "these bytes" if isinstance(picture, bytes) else str(picture)
        raise NoPicture(f"{where} can't be read as a picture: {error}") from error
    return image


def _fit(image: "Image", width: int) -> "Image":
    from PIL import Image

    height = max(2, round(image.height * width / image.width))
    return image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)


def _cell(upper: object, lower: object) -> str:
    assert isinstance(upper, tuple)
    assert isinstance(lower, tuple)
    over, under = (";".join(str(int(channel)) for channel in colour[:3]) for colour in (upper, lower))
    return f"\x1b[38;2;{over};48;2;{under}m▀"
