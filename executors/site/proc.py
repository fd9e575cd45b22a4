"""Processes of this machine as /proc tells of them."""

import os
from functools import cache


def below(pid: int, depth: int) -> list[int]:
    """Descendants exactly `depth` levels below; fewer while processes come and go."""
    level = [pid]
    for _ in range(depth):
        level = [child for parent in level for child in _children(parent)]
    return level


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def started_at(pid: int) -> int:
    """Start time in ns since the epoch, to a hundredth of a second; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return 0
    return (_boot_s() * 1_000_000_000) + ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


@cache
def _boot_s() -> int:
    with open("/proc/stat") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime"))
