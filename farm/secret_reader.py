"""Secrets are read beside everything else: one on a disk that does not answer keeps its own task waiting alone."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from executors.contract import Work
from farm.secret import Unreadable, read

LIMIT_S = 10.0
AT_ONCE = 8  # works that wait for their secrets
Handed = Mapping[str, Sequence[Work]]
"""Executor → works for it."""


@dataclass(slots=True)
class _Reading:
    """One reference, read by a thread of its own, which may hang for ever."""

    reference: str
    read: Callable[[str], str]
    ended: threading.Event = field(default_factory=threading.Event)
    overdue: bool = False
    _found: str = ""
    _why: Unreadable | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="secret", daemon=True).start()

    def _run(self) -> None:
        try:
            self._found = self.read(self.reference)
        except Unreadable as why:
            self._why = why
        except Exception as error:
            self._why = Unreadable(
                f"{self.reference} can't be read by the service: {type(error).__name__}", lasting=False
            )
        self.ended.set()

    def result(self, limit_s: float) -> str:
        """Raises Unreadable, at once when it was too long for somebody before."""
        if not self.ended.wait(0 if self.overdue else limit_s):
            self.overdue = True
            raise Unreadable(f"{self.reference} did not come within {limit_s:g} s; its disk may be away", lasting=False)
        if self._why is not None:
            raise self._why
        return self._found


class SecretReader:
    """Fills works with their secrets and passes them on, or with the reason why they can't begin.

    Of each reference one thread reads at a time, so that a dead disk takes as many threads as it has secrets.
    """

    def __init__(
        self, pass_on: Callable[[Handed], None], read: Callable[[str], str] = read, limit_s: float = LIMIT_S
    ) -> None:
        self._pass_on, self._read, self._limit_s = pass_on, read, limit_s
        self._pool = ThreadPoolExecutor(AT_ONCE, "secrets")
        self._readings: dict[str, _Reading] = {}
        self._lock = threading.Lock()

    def hand(self, works: Handed) -> None:
        """Returns at once."""
        for executor, handed in works.items():
            self._pool.submit(self._fill, executor, handed)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fill(self, executor: str, works: Sequence[Work]) -> None:
        self._pass_on({executor: [self._filled(work) for work in works]})

    def _filled(self, work: Work) -> Work:
        try:
            readings = {name: self._reading(reference) for name, reference in work.secrets.items()}
            return replace(work, secrets={name: one.result(self._limit_s) for name, one in readings.items()})
        except Unreadable as why:
            return replace(work, secrets={}, unready=f"the secret {why}", hopeless=why.lasting)

    def _reading(self, reference: str) -> _Reading:
        """Fresh, unless one is under way."""
        with self._lock:
            found = self._readings.get(reference)
            if found is None or found.ended.is_set():
                found = self._readings[reference] = _Reading(reference, self._read)
                found.start()
            self._readings = {name: one for name, one in self._readings.items() if not one.ended.is_set()} | {
                reference: found
            }
            return found
