"""A policy of somebody's own may raise, hang or ask for the moon: the farm goes on as it was decided last."""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from schedules.bounds import NoDecision, bounded, enforced
from schedules.model import Decision, Snapshot
from schedules.policy import default

log = logging.getLogger(__name__)

AGAIN = timedelta(seconds=5)  # after a failure it is left alone for this long, then for twice that …
AGAIN_AT_MOST = timedelta(minutes=5)
STANDS = timedelta(minutes=10)  # for how long what was decided last stands; then the farm's own policy decides


class PolicyFailed(Exception):
    """It raised, or took too long; the text says which."""


class Asked(Protocol):
    """Where a policy runs."""

    def ask(self, seen: Snapshot) -> Any:
        """What it decides. Raises PolicyFailed."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Guarded:
    """A policy that can't fail. Not for several threads at once."""

    name: str
    asked: Asked
    last: Decision = field(default_factory=lambda: Decision(()))
    trouble: str = ""  # the last failure, or the first thing that was left out
    _failures: int = 0
    _since: datetime | None = None  # it fails
    _again: datetime | None = None  # it is asked

    def __call__(self, seen: Snapshot, /) -> Decision:
        if self._again is not None and abs(seen.now - self._again) < AGAIN_AT_MOST and seen.now < self._again:
            return self._instead(seen)
        try:
            self.last = bounded(seen, self.asked.ask(seen))
        except (PolicyFailed, NoDecision) as error:
            self._failed(seen.now, str(error))
            return self._instead(seen)
        self._failures, self._since, self._again = 0, None, None
        self.trouble = self.trouble or next(iter(self.last.notes), "")
        return replace(self.last, notes=tuple(f"policy {self.name}: {note}" for note in self.last.notes))

    def _failed(self, now: datetime, error: str) -> None:
        self._since = self._since or now
        self._again = now + min(AGAIN * 2 ** min(self._failures, 10), AGAIN_AT_MOST)
        self._failures += 1
        self.trouble = error
        log.warning("policy %s: %s", self.name, error)

    def _instead(self, seen: Snapshot) -> Decision:
        """Nothing is ordered and nobody sent away but what has to be; after a while Farm's own policy decides."""
        if self._since is not None and abs(seen.now - self._since) >= STANDS:
            note = f"policy {self.name}: {self.trouble}; Farm's own policy decides in its place"
            own = default(seen)
            return replace(own, look_again=_sooner(own.look_again, self._again), notes=(*own.notes, note))
        note = f"policy {self.name}: {self.trouble}; what it decided last stands"
        return Decision(tuple(enforced(seen)), self._again, self.last.unmet, (note,))

    def close(self) -> None:
        self.asked.close()


def _sooner(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)
