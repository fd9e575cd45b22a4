"""Tells those who wait that something moved. It says that, never what: they look for themselves."""

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from farm.queue.progress import Changed

STAYS_S = 2.0  # a waiter between two questions
MOST = 10_000  # jobs whose last moves are known; who waits for an older one looks once more than it had to


class Feed:
    """A number per job that only grows, and a condition to wait on."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._count: dict[int, int] = {}
        self._logs: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._moves = itertools.count(1)  # of all jobs together: a job that was forgotten never comes back to a number
        self._closed = False
        self._present: dict[int, float] = {}
        self._numbers = itertools.count()
        self._awaited: Counter[int] = Counter()
        self.awaited = threading.Event()  # set whenever somebody begins to wait; for who clears it
        self.moved: Callable[[], None] = lambda: None  # told of every change, after those who wait here
        self.accepted: Callable[[Sequence[tuple[int, int]]], None] = lambda _tasks: None

    def publish(self, changed: Changed) -> None:
        """These jobs changed."""
        with self._moved:
            for job in changed.jobs - changed.ended:
                self._ended.pop(job, None)  # opened again by a retry
            for job in changed.ended:
                self._note(self._ended, job)
            for job in changed.jobs | changed.ended:
                self._note(self._count, job)
            self._moved.notify_all()
        self.moved()

    def _note(self, moves: dict[int, int], job: int) -> None:
        """The job moved last of all; the one that has not for longest is forgotten."""
        moves.pop(job, None)
        moves[job] = next(self._moves)
        while len(moves) > MOST:
            del moves[next(iter(moves))]

    def logged(self, job: int) -> None:
        """A task of this job wrote something."""
        with self._moved:
            self._note(self._logs, job)
            self._moved.notify_all()

    def mark(self, job: int) -> tuple[int, int]:
        """Where a waiter stands; take it before looking."""
        with self._moved:
            return self._count.get(job, 0), self._logs.get(job, 0)

    def wait(
        self,
        job: int,
        mark: tuple[int, int],
        seconds: float,
        logs: bool = False,
        left: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Block until the job moved beyond `mark` (or wrote, with `logs`); False when the time is up.

        Whoever waits may have `left`; a `nudge` makes it be noticed.
        """
        with self._moved, self._awaiting(job):
            return self._moved.wait_for(lambda: self._closed or left() or self._beyond(job, mark, logs), seconds)

    @contextmanager
    def _awaiting(self, job: int) -> Iterator[None]:
        self._awaited[job] += 1
        self.awaited.set()
        try:
            yield
        finally:
            self._awaited[job] -= 1
            if not self._awaited[job]:
                del self._awaited[job]

    def waited(self) -> list[int]:
        """Jobs that somebody waits for just now."""
        with self._moved:
            return list(self._awaited)

    def nudge(self) -> None:
        """Those who wait look whether anybody still waits for them."""
        with self._moved:
            self._moved.notify_all()

    def wait_ended(self, job: int, seconds: float) -> bool:
        """Block until the job ends, or the time is up."""
        with self._moved, self._awaiting(job):
            return self._moved.wait_for(lambda: self._closed or job in self._ended, seconds)

    def _beyond(self, job: int, mark: tuple[int, int], logs: bool) -> bool:
        if self._count.get(job, 0) != mark[0]:
            return True
        return logs and self._logs.get(job, 0) != mark[1]

    @contextmanager
    def waiter(self, gone: Callable[[], bool]) -> Iterator[None]:
        """Somebody waits for a job; between two questions too, unless it is `gone` afterwards."""
        number = next(self._numbers)
        self._leave()
        self._present[number] = math.inf
        try:
            yield
        finally:
            if gone():
                self._present.pop(number, None)
            else:
                self._present[number] = time.monotonic() + STAYS_S

    @property
    def waiters(self) -> int:
        self._leave()
        return len(self._present)

    def _leave(self) -> None:
        """Those that have not asked again in time are gone."""
        now = time.monotonic()
        for number in [n for n, until in list(self._present.items()) if until < now]:
            self._present.pop(number, None)

    def close(self) -> None:
        with self._moved:
            self._closed = True
            self._moved.notify_all()
