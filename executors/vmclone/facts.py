"""What a guest tells of itself before it is frozen, and what must hold of it then."""

import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

CLOCKS = ("tsc", "kvm-clock")
PACE = 0.02  # how far a guest's second may be from the host's: 20 ms of it
QUIET_S, LOOKS, LIMIT_S = 0.05, 10, 60.0
SOCKETS = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")


def facts() -> dict[str, Any]:
    """All plain JSON."""
    return {
        "clock": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource").strip(),
        "interfaces": sorted(set(os.listdir("/sys/class/net")) - {"lo"}),
        "sockets": sum(len(_read(f"/proc/net/{kind}").splitlines()[1:]) for kind in SOCKETS),
        "hostname": socket.gethostname(),
        "machine_id": _read("/etc/machine-id").strip(),
        "at": time.time_ns(),
        "monotonic": time.monotonic_ns(),
    }


def unfit(told: Mapping[str, Any], pace: float) -> str:
    """Why a template with these facts would make bad clones; empty when it would not. `pace`: seconds of the guest in
    one of the host."""
    if told["clock"] not in CLOCKS:
        return f"its clock source is {told['clock']}: the host was too busy while it booted"
    if abs(pace - 1) > PACE:
        return f"{pace:.3f} seconds pass in it while one does here: the host was too busy while it booted"
    if told["sockets"]:
        return f"it has {told['sockets']} open sockets, and every clone would have them too"
    if told["interfaces"]:
        return f"it has network interfaces: {', '.join(told['interfaces'])}"
    return ""


def settle() -> None:
    """Block until nothing runs here but the caller: what is frozen in the middle of something is slower to wake."""
    deadline, quiet = time.monotonic() + LIMIT_S, 0
    while quiet < LOOKS and time.monotonic() < deadline:
        select.select([], [], [], QUIET_S)
        quiet = 0 if _running() else quiet + 1


def _running() -> list[str]:
    me = str(os.getpid())
    pids = [name for name in os.listdir("/proc") if name.isdigit() and name != me]
    return [pid for pid in pids if _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] == ["R"]]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
