"""Processes that a gateway needs and that must outlive it, yet not the executor: their parent starts them.

The gateway asks over a socket that it inherits: one line of JSON {argv, env, log}, answered by {pid} or {error}.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from executors.errors import Lost
from executors.site.raylet import dying_with_parent, spawn

VARIABLE = "FARM_NURSERY"
ANSWER_S = 10.0
SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Born:
    pid: int


def has_parent() -> bool:
    return VARIABLE in os.environ


def variable(line: int) -> dict[str, str]:
    """What a child finds in its environment: its end of the line, and who we are."""
    return {VARIABLE: f"{line}:{os.getpid()}"}


def die_with_parent() -> None:
    """Called in the main thread. A signal at the parent's death is asked for anew in each program: exec in another
    thread loses it (measured)."""
    if not has_parent():
        return
    ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ[VARIABLE].partition(":")[2]):
        sys.exit("the executor is gone")


def parent_spawns(argv: list[str], env: Mapping[str, str], log: Path) -> Born:
    """As `spawn`, by the parent of this process. Raises Lost."""
    word = json.dumps({"argv": argv, "env": dict(env), "log": str(log)}).encode() + b"\n"
    with socket.socket(fileno=os.dup(int(os.environ[VARIABLE].partition(":")[0]))) as line:
        line.settimeout(ANSWER_S)
        try:
            line.sendall(word)
            said = json.loads(_line(line))
        except (OSError, ValueError) as error:
            raise Lost(f"the executor does not start processes: {error}") from error
    if "pid" not in said:
        raise Lost(f"the executor can't start {argv[0]}: {said.get('error')}")
    return Born(said["pid"])


def serve(line: socket.socket) -> None:
    """Start what is asked for; what it starts dies with the calling thread. Raises OSError when nobody asks."""
    word = _line(line)
    try:
        asked = json.loads(word)
        made = spawn([*dying_with_parent(), *asked["argv"]], asked["env"], Path(asked["log"]))
        said: dict[str, object] = {"pid": made.pid}
    except (OSError, ValueError, KeyError) as error:
        said = {"error": str(error)}
    line.sendall(json.dumps(said).encode() + b"\n")


def _line(line: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        data = line.recv(1 << 16)
        if not data:
            raise OSError("the other end is gone")
        found += data
    return found
