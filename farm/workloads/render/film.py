"""Frames into film.mp4 and contact.png. Runs on an executor by itself: standard library and ffmpeg only.

    python film.py FOLDER RATE

The same frames give the same bytes: one thread, no dates, no versions.
"""

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_ON_SHEET = 48
THUMB_WIDTH = 160
EXACT = ("-map_metadata", "-1", "-fflags", "+bitexact", "-threads", "1")
FILM = ("-c:v", "libx264", "-crf", "18", "-preset", "medium", "-flags:v", "+bitexact", "-movflags", "+faststart")
EVEN = "pad=ceil(iw/2)*2:ceil(ih/2)*2,format=yuv420p"  # H.264 with 4:2:0 has no odd sizes


def main(folder: str, rate: str) -> int:
    """Exit status 0, or 1 with a sentence on stderr."""
    frames = numbered(Path(folder))
    if not frames:
        return _fail(f"no frames in {folder}")
    if not shutil.which("ffmpeg"):
        return _fail("ffmpeg is missing on this executor; install Debian's package ffmpeg")
    made = feed(frames, rate, ("-vf", EVEN, *FILM, *EXACT, "film.mp4"))
    return made or feed(
        sheet(frames), rate, ("-vf", tiles(len(sheet(frames))), "-frames:v", "1", *EXACT, "contact.png")
    )


def numbered(folder: Path) -> list[Path]:
    """`frame….png` in order of their numbers."""
    found = [(re.fullmatch(r"frame(\d+)\.png", path.name), path) for path in folder.rglob("frame*.png")]
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def sheet(frames: Sequence[Path]) -> list[Path]:
    """Those shown on the contact sheet: all, or evenly chosen ones with the first and the last."""
    if len(frames) <= MOST_ON_SHEET:
        return list(frames)
    return [frames[round(i * (len(frames) - 1) / (MOST_ON_SHEET - 1))] for i in range(MOST_ON_SHEET)]


def tiles(count: int) -> str:
    columns = min(8, math.ceil(math.sqrt(count)))
    return f"scale={THUMB_WIDTH}:-2,tile={columns}x{math.ceil(count / columns)}:padding=4:margin=4"


def feed(frames: Sequence[Path], rate: str, options: Sequence[str]) -> int:
    """Pour the pictures into one ffmpeg; its exit status."""
    argv = ("ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "image2pipe", "-framerate", rate, "-c:v", "png", "-i", "-")
    with subprocess.Popen((*argv, *options), stdin=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin is not None
        try:
            for frame in frames:
                ffmpeg.stdin.write(frame.read_bytes())
            ffmpeg.stdin.close()
        except BrokenPipeError:
            pass  # it has said why on stderr
    return ffmpeg.returncode


def _fail(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
