"""Answers of Ray actors, waited for outside of Ray.

A thread that is inside Ray, or that drops what Ray counts, while Ray is shut down ends the whole process (2.60: "The
core worker has already been shutdown"). So every thread that waits here is let go before.
"""

import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from executors.errors import Lost


class Calls:
    """All that wait for an answer now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[Future[Any]] = set()
        self._closed = False

    def answer(self, ref: Any, timeout_s: float) -> Any:
        """Raises Lost when there is none in time, when the actor has died, and when all is closed."""
        from ray.exceptions import RayActorError

        own: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise Lost("the site is closed")
            self._waiting.add(own)
        try:
            ref.future().add_done_callback(lambda theirs: _pass_on(theirs, own))
            return own.result(timeout_s)
        except (RayActorError, TimeoutError) as error:
            raise Lost(str(error)) from error
        finally:
            with self._lock:
                self._waiting.discard(own)

    def close(self) -> None:
        """Let everybody go, and nobody in."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
        for own in waiting:
            with suppress(InvalidStateError):
                own.set_exception(Lost("the site is closed"))


def _pass_on(theirs: Future[Any], own: Future[Any]) -> None:
    with suppress(InvalidStateError):  # nobody waits any more
        error = theirs.exception()
        if error is None:
            own.set_result(theirs.result())
        else:
            own.set_exception(error)
