"""How long an executor lives without its farm, on the clock that never jumps."""

import contextlib
import os
import time
from pathlib import Path

FIRST_S = 120.0
"""A start may take longer than a lease, and who has never been spoken to has no work that anybody could do again: so
long one waits for the first word, and a farm gives it up no sooner."""


class Life:
    """Begins now. A lease begins with the first word of a gateway, and is renewed by what its agent writes."""

    def __init__(self, folder: Path, lease_s: float) -> None:
        self.lease_s, self._lease, self._met = lease_s, folder / "lease", folder / "met"
        for file in (self._lease, self._met):
            file.unlink(missing_ok=True)
        self._first, self._heard = time.monotonic() + max(FIRST_S, lease_s), 0.0

    def left_s(self) -> float:
        """Seconds; none or fewer when it is over."""
        for file, more in ((self._lease, 0.0), (self._met, self.lease_s)):
            with contextlib.suppress(OSError, ValueError):
                self._heard = max(self._heard, float(file.read_text()) + more)
        return (self._heard or self._first) - time.monotonic()


def met(folder: Path) -> None:
    """A gateway has spoken to the agent in this folder: only the first counts, as the farm may be away for the next."""
    with contextlib.suppress(OSError):  # there already; or a disk that is full: then it waits for its lease
        file = os.open(folder / "met", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(file, "wb", buffering=0) as out:
            out.write(f"{time.monotonic()}\n".encode())
