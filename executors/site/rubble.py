"""What tasks leave on the disk. Standard library only: keepers use it."""

import contextlib
import os


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
