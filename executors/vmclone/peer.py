"""One end of the line between a host and a guest. Both call each other; neither believes what the other says."""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any

from executors.vmclone.frames import Garbled, packed, unpacked

Serve = Callable[[list[Any], bytes], tuple[Any, bytes]]
"""Arguments and bytes of a call → its answer and bytes."""
MOST_AT_ONCE = 64  # calls of the other end that are being answered


def plainly(function: Callable[..., Any]) -> Serve:
    """A function of the arguments alone, whose result is JSON."""
    return lambda args, _: (function(*args), b"")


class Gone(Exception):
    """The other end does not answer (any more)."""


class Failed(Exception):
    """The other end has answered that it can't."""


class Peer:
    """Frames are [id, method, args] for a call and [id, null, answer, error] for its answer."""

    def __init__(self, line: int, methods: Mapping[str, Serve]) -> None:
        self._line, self._methods = line, methods
        self._writing, self._lock = threading.Lock(), threading.Lock()
        self._waiting: dict[int, Future[tuple[Any, bytes]]] = {}
        self._next, self._gone = 0, False
        self._answering = threading.BoundedSemaphore(MOST_AT_ONCE)

    def call(self, method: str, *args: Any, data: bytes = b"", within_s: float) -> tuple[Any, bytes]:
        """Raises Gone when there is no answer in time, Failed when the other end could not."""
        own: Future[tuple[Any, bytes]] = Future()
        with self._lock:
            if self._gone:
                raise Gone("the line has ended")
            self._next += 1
            number = self._next
            self._waiting[number] = own
        try:
            self._write(packed([number, method, args], data))
            return own.result(within_s)
        except NoAnswer as error:
            raise Gone(f"no answer to {method} within {within_s:g} s") from error
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        try:
            with self._writing:
                while rest:
                    rest = rest[os.write(self._line, rest) :]
        except OSError as error:
            raise Gone(f"the line has ended: {error.strerror}") from error

    def serve(self) -> None:
        """Take what comes until the line ends; who waits for an answer is let go then."""
        try:
            while True:
                self._take(*unpacked(lambda size: os.read(self._line, size)))
        except (Garbled, OSError) as error:
            self._end(str(error))

    def _take(self, head: Any, data: bytes) -> None:
        match head:
            case [int(number), str(method), list(args)]:
                self._answering.acquire()
                threading.Thread(target=self._answer, args=(number, method, args, data), daemon=True).start()
            case [int(number), None, answer, str(error)]:
                self._settle(number, answer, error, data)
            case _:
                raise Garbled("a frame is neither a call nor an answer")

    def _answer(self, number: int, method: str, args: list[Any], data: bytes) -> None:
        answer, error, back = None, "", b""
        try:
            answer, back = self._methods[method](args, data)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        finally:
            self._answering.release()
        with contextlib.suppress(Gone):
            self._write(packed([number, None, answer, error], back))

    def _settle(self, number: int, answer: Any, error: str, data: bytes) -> None:
        with self._lock:
            own = self._waiting.pop(number, None)
        if own is not None:
            with contextlib.suppress(InvalidStateError):
                own.set_exception(Failed(error)) if error else own.set_result((answer, data))

    def _end(self, why: str) -> None:
        with self._lock:
            self._gone = True
            waiting, self._waiting = list(self._waiting.values()), {}
        for own in waiting:
            with contextlib.suppress(InvalidStateError):
                own.set_exception(Gone(why))
