"""Processes that belong to a farm and are still there."""

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from demo.user import until
from farm.home import Home

PATIENCE_S = 10


def left(home: Path, known: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those the farm has told of, and any whose command line, environment or folder names its home or its sockets."""
    marks = [os.fsencode(str(home)), os.fsencode(str(Home(home).run))]
    told = {int(one["pid"]) for one in known}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid != os.getpid() and _alive(folder) and (pid in told or _names(folder, marks)):
            found.append(f"{pid} {_read(folder / 'cmdline').replace(bytes(1), b' ').decode(errors='replace')[:80]}")
    return found


def end(home: Path) -> None:
    """Whatever is still there is asked to end, then made to: nobody else will."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for one in left(home, ()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(one.split()[0]), number)
        if until(lambda: not left(home, ()), PATIENCE_S):
            return


def _names(folder: Path, marks: Iterable[bytes]) -> bool:
    try:
        place = os.fsencode(os.readlink(folder / "cwd"))
    except OSError:
        place = b""
    told = _read(folder / "cmdline") + _read(folder / "environ") + place
    return any(mark in told for mark in marks)


def _alive(folder: Path) -> bool:
    """Zombies are dead: only their parent has not asked yet."""
    return _read(folder / "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
