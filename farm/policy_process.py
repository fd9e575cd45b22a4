"""Somebody's own policy in a process of its own, which is ended when it does not answer in time."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import entry_points
from typing import IO, Any

from farm.policy_guard import PolicyFailed
from schedules.model import Snapshot

log = logging.getLogger(__name__)

GROUP = "farm.policies"
LIMIT_S = 1.0  # for a decision: who hands out work waits for it
START_S = 20.0  # for the import of what it needs


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
        try:
            return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise PolicyFailed(f"it can't be started: {error.strerror}") from error

    def _talk(self, child: subprocess.Popen[bytes], question: Any, limit_s: float) -> Any:
        """Whatever it is busy with when the time is up, it ends, and so does the conversation."""
        alarm = threading.Timer(limit_s, child.kill)
        alarm.start()
        try:
            kind, answer = _exchange(child, question)
        except (OSError, EOFError, pickle.PickleError, ValueError, TypeError, AttributeError, ImportError) as error:
            self.close()
            late = child.returncode in (-signal.SIGKILL, -signal.SIGALRM)
            said = f"no answer within {limit_s:g} s" if late else f"its process ended ({child.returncode})"
            raise PolicyFailed(said) from error
        finally:
            alarm.cancel()
        if kind == "raised":
            raise PolicyFailed(str(answer))
        return answer

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with suppress(OSError):
                child.communicate()


def _exchange(child: subprocess.Popen[bytes], question: Any) -> tuple[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    if question is not None:
        pickle.dump(question, child.stdin)
        child.stdin.flush()
    kind, answer = pickle.load(child.stdout)
    return kind, answer


# ── the other process ──


def main(name: str, limit_s: float, start_s: float) -> None:
    """Answers until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
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
        _answer(answers, _try(policy, seen))


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
    answers.write(text)
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
