"""Calls that were refused: counted, and told in the log a few at a time, without what was shown to be let in."""

import logging
import threading
from collections import Counter, deque
from datetime import timedelta
from typing import Any

from farm.auth import blotted
from farm.clock import Clock
from farm.read import when

log = logging.getLogger(__name__)

KEPT = 100
BURST = 20  # lines at once; then one every EVERY
EVERY = timedelta(seconds=1)
LONGEST = 200  # characters of a path
DIFFERENT = 200  # reasons: many repeat what was sent
OTHERS = "others"


class Turns:
    """So many at once, then one every EVERY. Every method may be called from any thread."""

    def __init__(self, clock: Clock, most: int = BURST) -> None:
        self._clock, self._most, self._lock = clock, most, threading.Lock()
        self._left, self._since = float(most), clock.now()
        self._passed = 0

    def take(self) -> int | None:
        """How many were passed over since the last turn; None when this one is, too."""
        now = self._clock.now()
        with self._lock:
            self._left = min(self._most, self._left + max(0.0, (now - self._since) / EVERY))
            self._since = now
            if self._left < 1:
                self._passed += 1
                return None
            self._left -= 1
            passed, self._passed = self._passed, 0
            return passed


class Refusals:
    """Since the service started: what strangers do writes nothing but the log. Every method may be called from any
    thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.since = clock, clock.now()
        self._lock = threading.Lock()
        self._why: Counter[str] = Counter()
        self._last: deque[dict[str, str]] = deque(maxlen=KEPT)
        self._lines, self.joins = Turns(clock), Turns(clock)
        self._strangers: dict[str, Turns] = {}

    def note(self, address: str, path: str, why: str, token: str = "") -> None:
        """`token` is the id of the token that was shown, where it has one."""
        now = self._clock.now()
        told = {"at": now.isoformat(), "address": address, "path": blotted(path)[:LONGEST], "why": why, "token": token}
        with self._lock:
            self._why[why if why in self._why or len(self._why) < DIFFERENT else OTHERS] += 1
            self._last.append(told)
        if (unsaid := self._lines.take()) is not None:
            more = f" ({unsaid} more were not told here)" if unsaid else ""
            shown = f", token {token}" if token else ""
            log.warning("refused %a from %a: %a%s%s", told["path"], address, why, shown, more)

    def stranger(self, pool: str) -> bool:
        """Whether what somebody without a ticket says of this pool, which there is, may be kept: one every EVERY."""
        with self._lock:
            turns = self._strangers.setdefault(pool, Turns(self._clock, 1))
        return turns.take() is not None

    def count(self) -> int:
        with self._lock:
            return self._why.total()

    def told(self) -> dict[str, Any]:
        """How many, why, and the last of them, the newest first."""
        with self._lock:
            by = dict(self._why.most_common())
            told = {"refused": self._why.total(), "since": when(self.since), "by": by}
            return {**told, "last": list(reversed(self._last))}
