"""Calls that were refused: counted, and told in the log a few at a time, without what was shown to be let in."""

import logging
import threading
from collections import Counter, deque
from datetime import datetime, timedelta
from typing import Any

from farm.auth import blotted
from farm.clock import Clock

log = logging.getLogger(__name__)

KEPT = 100
BURST = 20  # lines at once; then one every EVERY
EVERY = timedelta(seconds=1)
LONGEST = 200  # characters of a path


class Refusals:
    """Since the service started. Every method may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._why: Counter[str] = Counter()
        self._last: deque[dict[str, str]] = deque(maxlen=KEPT)
        self._lines, self._since = float(BURST), clock.now()
        self._unsaid = 0

    def note(self, address: str, path: str, why: str, token: str = "") -> None:
        """`token` is the id of the token that was shown, where it has one."""
        now = self._clock.now()
        told = {"at": now.isoformat(), "address": address, "path": blotted(path)[:LONGEST], "why": why, "token": token}
        with self._lock:
            self._why[why] += 1
            self._last.append(told)
            unsaid = self._turn(now)
        if unsaid is not None:
            more = f" ({unsaid} more were not told here)" if unsaid else ""
            shown = f", token {token}" if token else ""
            log.warning("refused %a from %a: %a%s%s", told["path"], address, why, shown, more)

    def _turn(self, now: datetime) -> int | None:
        """How many were passed over since the last line; None when this one is, too."""
        self._lines = min(BURST, self._lines + max(0.0, (now - self._since) / EVERY))
        self._since = now
        if self._lines < 1:
            self._unsaid += 1
            return None
        self._lines -= 1
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid

    def count(self) -> int:
        with self._lock:
            return self._why.total()

    def told(self) -> dict[str, Any]:
        """How many, why, and the last of them, the newest first."""
        with self._lock:
            by = dict(self._why.most_common())
            return {"refused": self._why.total(), "by": by, "last": list(reversed(self._last))}
