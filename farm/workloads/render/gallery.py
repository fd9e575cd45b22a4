"""Frames shown as they finish, a row at a time."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from farm.workloads.render.pictures import NoPicture, in_terminal, side_by_side

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ROW = 3
COLUMNS = 24  # characters a picture is wide
_FRAME = re.compile(r"frame\d+\.png")

Show = Callable[[Sequence[bytes], Sequence[str]], None]
"""Shows pictures, each with a caption."""


class Gallery:
    """Gathers frames into rows. Where they come faster than a row in `pause_s` seconds, some are left out."""

    def __init__(self, show: Show, pause_s: float = 0) -> None:
        self._show, self._pause_s = show, pause_s
        self._waiting: list[tuple[bytes, str]] = []
        self._shown_at = float("-inf")

    def has_room(self) -> bool:
        """Whether one more would be shown; shows a full row when it is time."""
        if len(self._waiting) == ROW and time.monotonic() >= self._shown_at + self._pause_s:
            self.flush()
        return len(self._waiting) < ROW

    def add(self, picture: bytes, caption: str) -> None:
        """One more frame, if there is room for it."""
        if self.has_room():
            self._waiting.append((picture, caption))
            self.has_room()

    def flush(self) -> None:
        """Show what waits for a full row."""
        if self._waiting:
            self._show([picture for picture, _ in self._waiting], [caption for _, caption in self._waiting])
        self._waiting = []
        self._shown_at = time.monotonic()


def is_frame(path: str) -> bool:
    """Whether an output of a render is a frame, not the film."""
    return bool(_FRAME.fullmatch(PurePosixPath(path).name))


def has_colours(console: "Console") -> bool:
    """Whether pictures can be seen there."""
    return console.is_terminal and console.color_system is not None


def drawn(frames: Sequence[bytes]) -> "Text":
    """The frames side by side in half blocks; what is no picture is left out."""
    from rich.text import Text

    return Text.from_ansi(side_by_side([block for frame in frames for block in _block(frame)]))


def _block(frame: bytes) -> list[str]:
    try:
        return [in_terminal(frame, COLUMNS)]
    except NoPicture:
        return []
