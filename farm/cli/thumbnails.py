"""Frames in the terminal as they finish."""

import io
import sys
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from farm.client import Client

if TYPE_CHECKING:
    from rich.console import Console

    from farm.workloads.render.gallery import Gallery

PAUSE_S = 1.0  # between two rows: a thousand quick frames must not bury the bar


class Thumbnails:
    """Is called with each task of a render that ended; shows nothing where there is no terminal of colours."""

    def __init__(self) -> None:
        self._gallery = _gallery() if sys.stderr.isatty() else None

    def __call__(self, client: Client, task: Any) -> None:
        if self._gallery is None:
            return
        from farm.workloads.render.gallery import is_frame

        frames = [file for file in task["outputs"] if is_frame(file["path"])]
        if frames and self._gallery.has_room():
            into = io.BytesIO()
            client.download(frames[0]["digest"], into)
            self._gallery.add(into.getvalue(), PurePosixPath(frames[0]["path"]).stem)

    def end(self) -> None:
        """Show what waits for a full row."""
        if self._gallery is not None:
            self._gallery.flush()


def _gallery() -> "Gallery | None":
    from rich.console import Console

    from farm.workloads.render.gallery import Gallery, has_colours

    console = Console(stderr=True)
    return Gallery(lambda frames, names: _show(console, frames, names), PAUSE_S) if has_colours(console) else None


def _show(console: "Console", frames: Sequence[bytes], names: Sequence[str]) -> None:
    """Through sys.stderr as it is now: while a bar is shown, that is where it makes room."""
    from farm.workloads.render.gallery import COLUMNS, drawn

    with console.capture() as shown:
        console.print(drawn(frames), soft_wrap=True)
    captions = "  ".join(f"{name[:COLUMNS]:<{COLUMNS}}" for name in names)
    sys.stderr.write(f"{shown.get()}{captions.rstrip()}\n")
    sys.stderr.flush()
