"""What listens where executors are, and whether others could reach it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
STATES = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}  # of those that take what comes from anywhere
ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_keys(b'', b'farm', 5)"


def listening(table: str, state: str = "0A") -> list[tuple[str, str]]:
    """(local address, inode) of the sockets that listen, as TCP or another protocol calls it; see proc(5)."""
    rows = [line.split() for line in table.splitlines() if ":" in line and "local" not in line]
    return [(row[1], row[9]) for row in rows if row[3] == state]


def reachable(pids: Collection[int]) -> list[str]:
    """Addresses beside loopback at which these processes listen, each in its own network."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
            open_here = [place for place, inode in sockets(pid) if f"socket:[{inode}]" in links]
            found += [place for place in open_here if not place.startswith(LOOPBACK)]
    return found


def sockets(pid: int) -> list[tuple[str, str]]:
    """All that listens in the network of this process."""
    return [found for kind, state in STATES.items() for found in listening(_table(pid, kind), state)]


def _table(pid: int, kind: str) -> str:
    return Path(f"/proc/{pid}/net/{kind}").read_text()


def ray_answers(pid: int, address: str, token: str) -> bool:
    """Whether the head at this address, in the network of this process, tells somebody anything who has this token: a
    file; "" is none."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token} if token else {"RAY_AUTH_MODE": "disabled"}
    line = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", sys.executable, "-c", ASK, address]
    return subprocess.run(line, env=env, capture_output=True, timeout=100).returncode == 0
