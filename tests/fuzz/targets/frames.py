"""Frame ranges."""

from farm.refusal import Refusal
from farm.workloads.render.frames import MOST, parse_frames, to_ranges

TOKENS = ["1", "7", "240", "0", "999999999", "1000000", "-", ":", ",", " ", "-1", "²", "٣"]


def target(data: bytes) -> None:
    try:
        frames = parse_frames(data.decode(errors="replace"))
    except Refusal:
        return
    assert 0 < len(frames) <= MOST
    if len(frames) <= 1000:
        again = [r.at(n) for r in to_ranges(frames) for n in range(len(r))]
        assert sorted(again) == list(frames)
