"""A process that is still the one we started: its id together with its start time."""

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from executors.site.proc import started_at as started_at


@dataclass(frozen=True, slots=True)
class Process:
    """`started` is in clock ticks since boot (field 22 of /proc/PID/stat): a reused pid is not taken for ours."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        """Raises ProcessLookupError when there is none."""
        return cls(pid, int(_stat(pid)[19]))

    def alive(self) -> bool:
        """A zombie counts as gone."""
        try:
            fields = _stat(self.pid)
        except ProcessLookupError:
            return False
        return int(fields[19]) == self.started and fields[0] not in ("Z", "X")

    def signal(self, number: signal.Signals) -> None:
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, timeout_s: float) -> bool:
        """True when it is gone within the time. It need not be a child of ours."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return not self.alive() or bool(select.select([descriptor], [], [], timeout_s)[0])
        finally:
            os.close(descriptor)

    def end(self, timeout_s: float) -> None:
        """TERM, and KILL when it is not gone in time."""
        self.signal(signal.SIGTERM)
        if not self.wait(timeout_s):
            self.signal(signal.SIGKILL)
            self.wait(timeout_s)


def sign(file: Path) -> None:
    """Write this process into a file, for `end_by_file`."""
    me = Process.of(os.getpid())
    file.write_text(f"{me.pid} {me.started}\n")


def end_by_file(file: Path, timeout_s: float = 5) -> None:
    """End the process that signed a file, if it is still the same. Repeating it is fine."""
    try:
        pid, started = file.read_text().split()
    except (OSError, ValueError):
        return
    Process(int(pid), int(started)).end(timeout_s)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; the second may hold spaces and brackets."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
