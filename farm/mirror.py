"""The farm's copies of what tasks print: the spools of the executors, range by range."""

import errno
import logging
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from executors.contract import Event, EventKind

log = logging.getLogger(__name__)

SHIPPED = 10_000  # attempts whose logs are followed, before it is asked which of them still run


class Mirror:
    """`shipped`: running attempt → end of what it has written, as far as it is here."""

    def __init__(self, logs: Path, written: Callable[[str], None], active: Callable[[], Collection[str]]) -> None:
        """`written` is told of the attempts that wrote; `active` answers which still run."""
        self._logs, self._written, self._active = logs, written, active
        self._most = SHIPPED
        self.shipped: dict[str, int] = {}

    def write(self, executor: str, events: Iterable[Event]) -> None:
        """Repeating a range is harmless. Raises OSError."""
        for event in events:
            if event.kind is not EventKind.LOG:
                continue
            path = spool_path(self._logs, executor, event.spool)
            path.parent.mkdir(exist_ok=True)
            if _mirrored(path, event) and event.attempt:
                self.shipped[event.attempt] = event.hi
                if len(self.shipped) > self._most:
                    self._forget_ended()
                self._written(event.attempt)

    def forget(self, attempt: str) -> None:
        """It has ended."""
        self.shipped.pop(attempt, None)

    def _forget_ended(self) -> None:
        """Attempts that were lost never say that they ended."""
        active = self._active()
        self.shipped = {attempt: end for attempt, end in self.shipped.items() if attempt in active}
        self._most = max(SHIPPED, 2 * len(self.shipped))


def _mirrored(path: Path, event: Event) -> bool:
    """False when no file can hold bytes there: refusing the report would only bring it again. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, event.data, event.lo)
        return True
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EINVAL):
            raise
        log.warning("%s: output at %d is left out: %s", path.parent.name, event.lo, error)
        return False
    finally:
        os.close(descriptor)


def spool_path(logs: Path, executor: str, spool: str) -> Path:
    """Raises ValueError for a name that would leave the folder."""
    for part in (executor, spool):
        if not part or "/" in part or part in (".", "..") or "\0" in part:
            raise ValueError(f"{part!r} is no name of a spool")
    return logs / executor / spool
