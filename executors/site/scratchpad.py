"""The folder where the tasks of a slot begin, empty each time. Standard library only: keepers use it."""

import contextlib
import os
import stat
import time

from executors.site.rubble import empty

SURE_NS = 4_000_000_000  # file systems round times, to 2 s at the worst: a folder that changed later may change unseen
_Told = tuple[int, int, int, int, int]


class Scratchpad:
    """Looked into only when its inode tells of a change: that costs a quarter of listing it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._clean: _Told | None = None  # what its inode said when it was empty
        self._inside = (0, 0)  # the folder in which this process is, where that is known

    def tidy(self) -> None:
        """Remove what is in it. A task may have shut it, or put something else in its place: never follow a link."""
        try:
            told = _told(self.path)
            if told == self._clean:
                return
            self._clean = None
            if told[:2] != self._inside:
                self._inside = (0, 0)
            if told[4] & 0o700 != 0o700 or os.listdir(self.path):
                empty(self.path)  # opens it first
            elif time.time_ns() - told[3] > SURE_NS:  # not even a task can set this time
                self._clean = told
        except FileNotFoundError:
            self._clean, self._inside = None, (0, 0)
        except NotADirectoryError:
            self._clean, self._inside = None, (0, 0)
            os.unlink(self.path)

    def enter(self) -> None:
        """Nothing is to be done where the last one was here, too, and `tidy` has found the folder in its place. Raises
        OSError."""
        if self._inside != (0, 0):
            return
        try:
            os.chdir(self.path)
        except FileNotFoundError:
            self.make()
            os.chdir(self.path)
        here = os.stat(".")
        self._inside = here.st_dev, here.st_ino

    def leave(self, folder: str) -> None:
        """For another folder. Raises OSError."""
        self._inside = (0, 0)
        os.chdir(folder)

    def make(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.makedirs(self.path, mode=0o700, exist_ok=True)


def _told(path: str) -> _Told:
    """Device, inode, links, time of the last change and mode. Raises NotADirectoryError for anything but a folder."""
    told = os.lstat(path)
    if not stat.S_ISDIR(told.st_mode):
        raise NotADirectoryError(path)
    return told.st_dev, told.st_ino, told.st_nlink, told.st_ctime_ns, told.st_mode
