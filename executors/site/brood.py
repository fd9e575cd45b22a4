"""The children of this process: who has ended, what they used, and whether any are left. Standard library only."""

import contextlib
import os
import resource

LIST = "/proc/thread-self/children"


class Brood:
    """Orphans among them. Asking for what all of them used, and being told by an exception that there is none, costs as
    much as all else that is done for a task: neither is done where it can be known otherwise."""

    def __init__(self) -> None:
        self.status = 0  # of the last one that was waited for
        self._usage = (0, 0)  # milliseconds of CPU, KiB
        self._seconds = 0.0  # … of CPU, exactly
        self._only = True  # nobody else was collected since `begin`
        self._spent = 0.0
        self._list = -1
        with contextlib.suppress(OSError):  # kernels that don't tell
            self._list = os.open(LIST, os.O_RDONLY)

    def begin(self) -> None:
        """What was used before is over."""
        self._only, self._usage, self._seconds = True, (0, 0), 0.0

    def count(self) -> None:
        """Take up what was used so far: sums of what each tells are off by a little."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._spent = used.ru_utime + used.ru_stime

    def reap(self, wanted: int) -> bool:
        """Collect the dead; whether `wanted` was among them."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == wanted:
                self.status, self._seconds = status, used.ru_utime + used.ru_stime
                self._usage = (int(self._seconds * 1000), used.ru_maxrss)
                return True
            if pid == 0:
                return False
            self._only = False

    def none(self) -> bool:
        """Collect the dead; whether nobody is left. An empty list is to be believed: who has left the list of one
        process is in that of another, below which nobody is either."""
        if self._list >= 0 and not os.pread(self._list, 1, 0):
            return True
        self._only = False
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        return False

    def usage(self) -> tuple[int, int]:
        """Milliseconds of CPU of all that was collected since `begin`, KiB of the one that was waited for."""
        cpu_ms, rss_kib = self._usage
        if self._only:
            self._spent += self._seconds
            return self._usage
        before = self._spent
        self.count()
        return max(cpu_ms, int((self._spent - before) * 1000)), rss_kib
