"""Frame ranges as artists write them: `7`, `1-240`, `1-240:2`, `1-10,20`."""

import re
from itertools import islice, pairwise

from farm.model import Range
from farm.refusal import Refusal

MOST = 1_000_000
_PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([0-9]{1,9}))?)?")
_REMEDY = "write 1-240, 1-240:2 for every second frame, or 1-10,20"


def parse_frames(text: str, option: str = "--frames") -> tuple[int, ...]:
    """The frames in rising order, each once. Raises Refusal."""
    parts = [_part(part.strip(), text, option) for part in text.split(",")]
    if sum(len(part) for part in parts) > MOST:
        raise Refusal(f"{text!r} is more than {MOST:,} frames", option, "split the film into several jobs")
    return tuple(sorted({frame for part in parts for frame in part}))


def to_ranges(frames: tuple[int, ...]) -> tuple[Range, ...]:
    """Regular runs, each as long as can be, taken from the front: 1,2,3,10,12,14 becomes 1-3 and 10-14:2."""
    runs: list[Range] = []
    start = 0
    while start < len(frames):
        size = _regular(frames, start)
        step = frames[start + 1] - frames[start] if size > 1 else 1
        runs.append(Range(first=frames[start], last=frames[start + size - 1], step=step))
        start += size
    return tuple(runs)


def _part(part: str, text: str, option: str) -> range:
    match = _PART.fullmatch(part)
    if not match:
        what = f"{part!r} is no frame or range of frames" if part else f"{text!r} names no frame between two commas"
        raise Refusal(what if text.strip() else "no frames were named", option, _REMEDY)
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if last < first:
        raise Refusal(f"{part!r} ends before it begins", option, f"write {last}-{first}")
    if step < 1:
        raise Refusal(f"{part!r} takes steps of nothing", option, f"write {first}-{last}:1 for every frame")
    return range(first, last + 1, step)


def _regular(frames: tuple[int, ...], start: int) -> int:
    """How many frames from `start` on have one distance between them. Two far apart, with more to come, are no rule."""
    size = 1
    for before, after in pairwise(islice(frames, start, None)):
        if after - before != frames[start + 1] - frames[start]:
            break
        size += 1
    alone = size == 2 < len(frames) - start and frames[start + 1] - frames[start] > 1
    return 1 if alone else size
