"""Processes of this machine as /proc tells of them."""

import os
from functools import cache


def below(pid: int, depth: int) -> list[int]:
    """Descendants exactly `depth` levels below; fewer while processes come and go."""
    level = [pid]
    for _ in range(depth):
        level = [child for parent in level for child in children(parent)]
    return level


def descendants(pid: int, most: int = 1_000_000) -> list[int]:
    """All below, parents first; fewer while processes come and go. Looks no further once there are more than `most`:
    those that multiply may do so faster than one can count."""
    found = children(pid)
    for one in found:  # grows while we go
        if len(found) > most:
            break
        found.extend(children(one))
    return found


def children(pid: int) -> list[int]:
    """Of all its threads: each has those that it started."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found.extend(int(child) for child in file.read().split())
    except OSError:
        pass
    return found


def myself() -> int:
    """This process in the numbering of the /proc that is mounted, which may be that of an outer namespace."""
    return int(os.readlink("/proc/self"))


def memory(pid: int) -> int:
    """Bytes that are its alone, or shared with those it forked; quick."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = file.read().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


def fair_memory(pid: int) -> int:
    """Bytes, what it shares divided among those who share it; the kernel walks all its pages for this."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return memory(pid)


def started_at(pid: int) -> int:
    """Start time in ns since the epoch, to a hundredth of a second; 0 when it is gone."""
    ticks = int((_stat(pid) or ["0"] * 20)[19])
    return (_boot_s() * 1_000_000_000) + ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK")) if ticks else 0


def cpu_s(pid: int) -> float:
    """What it has used of a processor so far, in seconds; 0 when it is gone."""
    user, system = (_stat(pid) or ["0"] * 20)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def state(pid: int) -> str:
    """One letter, such as S for sleeping, T for stopped, Z for dead but not collected; "" when it is gone."""
    return (_stat(pid) or [""])[0]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; none when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


@cache
def _boot_s() -> int:
    with open("/proc/stat") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime"))
