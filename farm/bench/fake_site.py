"""Executors that exist in memory only: whatever they are given ends well after a fixed time."""

import heapq
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from executors.contract import Cursor, Event, EventKind, Ready, Running, Work

Due = tuple[float, str, Work]


class FakeSite:
    """A Site (see executors.contract) whose tasks take `task_s` each, one at a time on each executor."""

    def __init__(self, task_s: float) -> None:
        self._task_s = task_s
        self._moved = threading.Condition()
        self._slots: dict[str, int] = {}
        self._free_at: dict[str, float] = {}
        self._running: list[Due] = []
        self._seq: dict[str, int] = {}
        self._told: dict[str, list[Event]] = {}
        self.ended = 0

    def attach(self, machine: str, slots: int, /) -> None:
        with self._moved:
            self._slots[machine] = slots
            self._moved.notify_all()

    def ready(self) -> Sequence[Ready]:
        with self._moved:
            return [Ready(machine, slots) for machine, slots in self._slots.items()]

    def start(self, works: Sequence[Work], on: str, /) -> None:
        with self._moved:
            at = max(time.monotonic(), self._free_at.get(on, 0.0))
            for work in works:
                at += self._task_s
                heapq.heappush(self._running, (at, on, work))
            self._free_at[on] = at
            self._moved.notify_all()

    def events(self, after: Cursor, /, wait: timedelta) -> Mapping[str, Sequence[Event]]:
        until = time.monotonic() + wait.total_seconds()
        with self._moved:
            while not self._end(after) and (left := until - time.monotonic()) > 0:
                soonest = self._running[0][0] - time.monotonic() if self._running else left
                self._moved.wait(max(0.0, min(left, soonest)))
            return {machine: list(events) for machine, events in self._told.items() if events}

    def _end(self, after: Cursor) -> bool:
        """Move what has ended to what is told; whether there is anything to tell."""
        now, wall = time.monotonic(), time.time_ns()
        while self._running and self._running[0][0] <= now:
            _, on, work = heapq.heappop(self._running)
            seq = self._seq[on] = self._seq.get(on, 0) + 1
            took = {"started": wall - int(self._task_s * 1e9), "at": wall, "cpu_ms": 1}
            self._told.setdefault(on, []).append(
                Event(seq, EventKind.FINISHED, work.attempt, work.token, **took)  # type: ignore[arg-type]
            )
            self.ended += 1
        return any(events and events[-1].seq > after.get(machine, 0) for machine, events in self._told.items())

    def acknowledge(self, upto: Cursor, /) -> None:
        with self._moved:
            for machine, seq in upto.items():
                self._told[machine] = [e for e in self._told.get(machine, ()) if e.seq > seq]

    def snapshot(self) -> Sequence[Running]:
        with self._moved:
            return [Running(on, work.attempt, work.token, "running") for _, on, work in self._running]

    def cancel(self, attempts: Collection[str], /) -> None: ...

    def stop(self, machine: str, /, grace: timedelta) -> None:
        with self._moved:
            self._slots.pop(machine, None)

    def renew(self, lease: timedelta, /) -> None: ...

    def lost(self) -> Sequence[str]:
        return ()

    def close(self) -> None: ...
