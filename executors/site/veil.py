"""What tasks shall not see of their executor, its token above all: covered in the mount namespace of each keeper.

A task is of the executor's own user, so that no permission keeps it from a file. Standard library only.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterable, Sequence

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 1, 2, 4, 8, 4096  # mount(2)
AMBIENT, CLEAR_ALL, CAPABILITIES = 47, 4, 0x20080522  # prctl(2), capset(2)
NOT_HERE = (errno.EPERM, errno.EACCES, errno.ENOSYS)  # what a machine that lets nobody mount says; no task can cause it
Covered = tuple[str, int, int]


def covering(paths: Iterable[str]) -> list[Covered]:
    """Those that are there, with what they are now: where another stands in the place, somebody has moved it."""
    found = ((path, os.stat(path)) for path in paths if os.path.exists(path))
    return [(path, told.st_dev, told.st_ino) for path, told in found]


def draw(covered: Iterable[Sequence[str | int]]) -> None:
    """Nothing is to be seen there from now on, by this process and all that it starts; what it took is given
    up. Where this machine lets nobody cover anything that is told, and work goes on. Raises OSError."""
    for path, device, inode in covered:
        told = os.stat(path)
        if (told.st_dev, told.st_ino) != (device, inode):
            raise PermissionError(f"{path} is not what it was")
        try:
            _cover(str(path))
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            sys.stderr.write(f"farm: tasks can see {path}: {error.strerror}\n")  # goes to keeper.log
    _drop()


def _cover(path: str) -> None:
    if os.path.isdir(path):
        flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
        _mount("none", path, "tmpfs", flags, "size=4k,nr_inodes=2,mode=500")
    else:
        _mount("/dev/null", path, "", MS_BIND, "")


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), f"{target} can't be covered: {os.strerror(ctypes.get_errno())}")


def _drop() -> None:
    """Give up the capabilities in a user namespace by which it was drawn: a task has none of them. The root of one has
    them anyway."""
    if os.geteuid() == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(AMBIENT, CLEAR_ALL, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capabilities can't be given up")
