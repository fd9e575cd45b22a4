"""Where control groups can be made on this machine, proven by making one."""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from executors.site.cage import Cage, read, write

FILE = "cage.json"
ROLES = ("memory", "pids")
_JOIN = 'for folder; do echo 0 > "$folder/cgroup.procs" || exit 1; done'


def of_executor(base: Cage, folder: str) -> Cage:
    """The group of the executor in this folder; those of its slots are inside."""
    return base.below(f"farm-{hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()[:12]}")


def record(folder: Path, cage: Cage) -> None:
    """Write down that the executor in this folder has this group. A full disk is for others to notice."""
    with contextlib.suppress(OSError):
        (folder / FILE).write_text(json.dumps(cage))


def forget(folder: Path) -> None:
    """End what is in the group of the executor in this folder, which is no more, and take it away. Repeating it is
    fine."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        Cage(*json.loads((folder / FILE).read_text())).remove()


@cache
def base() -> Cage:
    """Where groups can be made here, proven by making one and joining it; an empty one when they can't."""
    found = Cage(**{role: where for role, (_, where) in _places().items()})
    for candidate in (found, Cage(found.memory, found.pids), Cage(tree=found.tree)):
        if candidate and _works(candidate.below(f"farm-try-{os.getpid()}")):
            return candidate
    return Cage()


def _works(trial: Cage) -> bool:
    try:
        trial.offer()
        inner = trial.below("0")
        inner.make()
        inner.limit(1 << 30, 100)
        return subprocess.run(["/bin/sh", "-c", _JOIN, "sh", *inner.folders()], capture_output=True).returncode == 0
    except OSError:
        return False
    finally:
        trial.remove()


def home() -> Cage:
    """The groups that this process is in."""
    return Cage(**{role: own for role, (own, _) in _places().items()})


def _places() -> dict[str, tuple[str, str]]:
    """By role: the folder of our own group, and the one in which others can be made."""
    found: dict[str, tuple[str, str]] = {}
    own = dict(_own())
    for point, root, controllers in _mounts():
        where = next((path for name, path in own.items() if set(name.split(",")) & controllers), None)
        if where is None:
            continue
        folder = os.path.normpath(f"{point}/{os.path.relpath(where, root)}")
        if not controllers - {""}:
            found = {**_second(folder, point), **found}
        elif os.access(folder, os.W_OK):
            found.update({role: (folder, folder) for role in ROLES if role in controllers})
    return found


def _own() -> Iterator[tuple[str, str]]:
    """Controllers with commas between ("" under version 2), and the path of our group there."""
    with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            yield controllers, path


def _mounts() -> Iterator[tuple[str, str, set[str]]]:
    """Where it is mounted, from which root, and its controllers ({""} under version 2)."""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            _, _, _, root, point = before.split()[:5]
            if kind == "cgroup2":
                yield point, root, {""}
            elif kind == "cgroup":
                yield point, root, set(options.split(","))


def _second(own: str, top: str) -> dict[str, tuple[str, str]]:
    """Version 2: the nearest group, from our own upwards, that gives limits to groups below it; else just killing."""
    folder = own
    while os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK):
        if _gives(folder) or (folder == own and _opened(folder)):
            return dict.fromkeys((*ROLES, "tree"), (own, folder))
        if folder == top:
            break
        folder = os.path.dirname(folder)
    return {"tree": (own, own)} if os.access(own, os.W_OK) else {}


def _gives(folder: str) -> bool:
    return set(ROLES) <= set(read(f"{folder}/cgroup.subtree_control").split())


def _opened(folder: str) -> bool:
    """A group with processes in it refuses this, but for the topmost."""
    if not set(ROLES) <= set(read(f"{folder}/cgroup.controllers").split()):
        return False
    with contextlib.suppress(OSError):
        write(f"{folder}/cgroup.subtree_control", "+memory +pids")
    return _gives(folder)
