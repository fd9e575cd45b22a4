"""Where control groups can be made on this machine, proven by making one."""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from executors.site.cage import NO_CAGE, Cage, read, write

FILE = "cage.json"
MOST = 1 << 16  # bytes of that file
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
    with contextlib.suppress(OSError, ValueError, RecursionError):
        _recorded(folder).remove()


def _recorded(folder: Path) -> Cage:
    """What `record` has written, and nothing else: tasks can write there too. Raises OSError, ValueError and
    RecursionError."""
    with open(os.open(folder / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)) as file:
        words = json.loads(file.read(MOST))
    if not isinstance(words, list) or len(words) != len(Cage._fields):
        return NO_CAGE
    name = of_executor(Cage("/"), str(folder)).name
    return Cage(*words) if all(word == "" or _is_group(word, name) for word in words) else NO_CAGE


def _is_group(path: object, name: str) -> bool:
    """Whether it is of this name and below a place where control groups are."""
    if not isinstance(path, str) or os.path.basename(path) != name or os.path.realpath(path) != path:
        return False
    return any(path.startswith(f"{point.rstrip('/')}/") for point, _, _ in _mounts())


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
    """Version 2: our own group, where it gives limits to groups below it, or the nearest above that does and was given
    to us; else just killing. Any other above is not ours: what runs there has left the limits of our unit, and does not
    end with it."""
    folder = own
    while _writable(folder):
        if _gives(folder) or _opened(folder):
            return dict.fromkeys((*ROLES, "tree"), (own, folder))
        folder = os.path.dirname(folder)
        if own == top or not folder.startswith(top) or not _given(folder):
            break
    return {"tree": (own, own)} if os.access(own, os.W_OK) else {}


def _writable(folder: str) -> bool:
    return os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK)


def _given(folder: str) -> bool:
    """Whether who manages this machine has left what is below to us: systemd marks it, or it belongs to our user."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    with contextlib.suppress(OSError):
        return os.stat(folder).st_uid == os.geteuid() != 0
    return False


def _gives(folder: str) -> bool:
    return set(ROLES) <= set(read(f"{folder}/cgroup.subtree_control").split())


def _opened(folder: str) -> bool:
    """A group with processes in it refuses this, but for the topmost."""
    if not set(ROLES) <= set(read(f"{folder}/cgroup.controllers").split()):
        return False
    with contextlib.suppress(OSError):
        write(f"{folder}/cgroup.subtree_control", "+memory +pids")
    return _gives(folder)
