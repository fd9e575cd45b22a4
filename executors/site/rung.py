"""How firmly this machine can hold a task: the best rung of a ladder, found by trying it."""

import os
import subprocess
from dataclasses import dataclass
from functools import cache

DEADLY = ("setpriv", "--pdeathsig", "KILL")


@dataclass(frozen=True, slots=True)
class Rung:
    """`prefix` goes before the keeper's command; `alone` says that the keeper is pid 1 of its own namespace,
    `veils` that it can cover files: it has mounts of its own."""

    name: str
    prefix: tuple[str, ...]
    alone: bool
    loses: str = ""
    veils: bool = True


_USER = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "-pf", "--kill-child")
LADDER = (
    Rung("root namespaces", (*DEADLY, "unshare", "-pf", "--kill-child", "--mount-proc"), alone=True),
    Rung("user namespaces", (*DEADLY, *_USER, "--mount-proc"), alone=True),
    Rung("user namespaces without /proc", (*DEADLY, *_USER), alone=True, loses="a task sees the host's /proc"),
)
FLOOR = Rung(
    "process groups",
    (),
    alone=False,
    veils=False,
    loses="a task can signal this user's other processes, and read an executor's token; "
    "install util-linux or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)",
)


@cache
def rung() -> Rung:
    """The best rung that works here; probing takes some 10 ms, once per process."""
    ladder = LADDER if os.geteuid() == 0 else LADDER[1:]
    return next((r for r in ladder if holds(r)), FLOOR)


def holds(candidate: Rung) -> bool:
    """Whether this rung works here."""
    try:
        done = subprocess.run([*candidate.prefix, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
