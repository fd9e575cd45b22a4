"""Somebody's own policy in a process of its own, which is ended when it does not answer in time."""

import io
import logging
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import entry_points
from typing import IO, Any

from farm.policy_guard import PolicyFailed
from schedules.model import Snapshot

log = logging.getLogger(__name__)

GROUP = "farm.policies"
LIMIT_S = 1.0  # for a decision: who hands out work waits for it
START_S = 20.0  # for the import of what it needs
END_S = 5.0  # for a process that was killed to be gone
LONGEST = 16 << 20  # bytes of an answer
_SIZE = struct.Struct(">Q")  # before each answer
_PLAIN = ("schedules.model", "datetime", "decimal", "zoneinfo")  # what answers are made of
_BUILT_IN = ("getattr", "set", "frozenset")  # by the first a zone is made


class PolicyProcess:
    """Asks `name` of the entry points in another process, started when it is asked first."""

    def __init__(self, name: str, limit_s: float = LIMIT_S, start_s: float = START_S) -> None:
        self.name, self._limit_s, self._start_s = name, limit_s, start_s
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, seen: Snapshot) -> Any:
        """What it decides. Raises PolicyFailed."""
        child = self._child
        if child is None:
            child = self._child = self._start()
            try:
                self._talk(child, None, self._start_s)
            except PolicyFailed:
                self.close()
                raise
        return self._talk(child, seen, self._limit_s)

    def _start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-P", "-m", "farm.policy_process", self.name, str(self._limit_s), str(self._start_s)]
        pipe = subprocess.PIPE
        try:  # a group of its own: what it starts ends with it
            child = subprocess.Popen(words, stdin=pipe, stdout=pipe, bufsize=0, start_new_session=True)
        except OSError as error:
            raise PolicyFailed(f"it can't be started: {error.strerror}") from error
        for end in (child.stdin, child.stdout):
            assert end is not None
            os.set_blocking(end.fileno(), False)
        return child

    def _talk(self, child: subprocess.Popen[bytes], question: Any, limit_s: float) -> Any:
        """Whatever it is busy with when the time is up, it ends, and so does the conversation."""
        try:
            kind, answer = _exchange(child, question, time.monotonic() + limit_s)
        except PolicyFailed:
            self.close()
            raise
        except (OSError, EOFError) as error:
            self.close()
            late = isinstance(error, TimeoutError) or child.returncode == -signal.SIGALRM
            said = f"no answer within {limit_s:g} s" if late else f"its process ended ({child.returncode})"
            raise PolicyFailed(said) from error
        if kind == "raised":
            raise PolicyFailed(str(answer))
        return answer

    def close(self) -> None:
        """Nobody is waited for who holds its pipes but is beyond our reach."""
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(END_S)
        for end in (child.stdin, child.stdout):
            if end is not None:
                end.close()


def _exchange(child: subprocess.Popen[bytes], question: Any, until: float) -> tuple[str, Any]:
    """Raises PolicyFailed, OSError, EOFError. `until` is monotonic."""
    assert child.stdin is not None
    assert child.stdout is not None
    if question is not None:
        _write(child.stdin.fileno(), pickle.dumps(question), until)
    (size,) = _SIZE.unpack(_read(child.stdout.fileno(), _SIZE.size, until))
    if size > LONGEST:
        raise PolicyFailed(f"its answer has more than {LONGEST:,} bytes")
    return _understood(_read(child.stdout.fileno(), size, until))


def _write(descriptor: int, data: bytes, until: float) -> None:
    left = memoryview(data)
    while left:
        _await(descriptor, select.POLLOUT, until)
        left = left[os.write(descriptor, left) :]


def _read(descriptor: int, count: int, until: float) -> bytes:
    found = bytearray()
    while len(found) < count:
        _await(descriptor, select.POLLIN, until)
        part = os.read(descriptor, count - len(found))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


def _await(descriptor: int, event: int, until: float) -> None:
    """Raises TimeoutError."""
    line = select.poll()
    line.register(descriptor, event)
    if not line.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError


class _Answers(pickle.Unpickler):
    """Of plain things alone: what is of a policy's own module would run that module here."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _PLAIN or (module == "builtins" and name in _BUILT_IN):
            return super().find_class(module, name)
        raise PolicyFailed(f"it gave a {module}.{name}, of which no decision is made; give plain numbers and texts")


def _understood(text: bytes) -> tuple[str, Any]:
    """Raises PolicyFailed."""
    try:
        kind, answer = _Answers(io.BytesIO(text)).load()
    except PolicyFailed:
        raise
    except Exception as error:
        raise PolicyFailed(f"its answer can't be understood: {str(error)[:200]}") from error
    return kind, answer


# ── the other process ──


def main(name: str, limit_s: float, start_s: float) -> None:
    """Answers until nobody asks any more."""
    answers, me = os.fdopen(os.dup(1), "wb"), os.getpid()
    os.dup2(2, 1)  # what it prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 2 * start_s)  # should whoever asks be gone
    kind, policy = _try(_load, name)
    _answer(answers, (kind, None if kind == "answer" else policy))
    while kind == "answer":
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            seen = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, 2 * limit_s)
        answer = _try(policy, seen)
        if os.getpid() != me:  # a process that the policy has started is not the one that was asked
            os._exit(0)
        _answer(answers, answer)


def _load(name: str) -> Any:
    return entry_points(group=GROUP)[name].load()


def _try(function: Any, *given: Any) -> tuple[str, Any]:
    try:
        return "answer", function(*given)
    except Exception as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = f" ({os.path.basename(at.tb_frame.f_code.co_filename)} line {at.tb_lineno})" if at else ""
        return "raised", f"it raised {type(error).__name__}: {str(error)[:200]}{where}"


def _answer(answers: IO[bytes], answer: tuple[str, Any]) -> None:
    try:
        text = pickle.dumps(answer)
    except Exception as error:
        text = pickle.dumps(("raised", f"what it gave can't be told: {str(error)[:200]}"))
    answers.write(_SIZE.pack(len(text)) + text)
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
