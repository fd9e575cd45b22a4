"""Executors of whose processes some are new or gone, as far as somebody said so: those are listed at once."""

import threading
from collections.abc import Collection


class Stirred:
    """Their names, until somebody asks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: set[str] = set()
        self._closed = False

    def note(self, executor: str) -> None:
        with self._changed:
            self._names.add(executor)
            self._changed.notify_all()

    def wait(self, seconds: float) -> Collection[str]:
        """Block until there are some, or until the time is up; all that there are since it was asked last."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._names), seconds)
            found, self._names = self._names, set()
            return found

    def close(self) -> None:
        """Let who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
