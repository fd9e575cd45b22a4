"""The disk that tasks write to, and what they leave there. Standard library only: keepers use it."""

import contextlib
import os

LITTLE = 256 << 10


def full(folder: str) -> bool:
    """Whether there is next to no room on its disk."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < LITTLE or (disk.f_files > 0 and not disk.f_favail)


def empty(folder: str) -> None:
    """Remove all below `folder`, never following a link; what can't be removed stays."""
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in list(entries):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        empty(entry.path)
                        os.rmdir(entry.path)
                    else:
                        os.unlink(entry.path)
