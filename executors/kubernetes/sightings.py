"""What is seen of pods, made into books: who lives, who has ended and why, and who ended unasked."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from executors.contract import Machine, MachineState
from executors.kubernetes import pod as p
from executors.kubernetes.books import Books, Entry
from executors.kubernetes.verdict import Verdict, instant, judge

VANISHED = "its pod was deleted"
Pod = Mapping[str, Any]


def now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


class Sightings:
    """Several threads may tell what they saw."""

    def __init__(self, books: Books, pool: str, unschedulable: timedelta) -> None:
        self._books, self._pool, self._unschedulable = books, pool, unschedulable
        self._rung = threading.Condition(books.lock)
        self._gone: list[str] = []
        self._closed = False

    def all(self, pods: Sequence[Pod], living: Collection[str]) -> list[Pod]:
        """Every pod there is; `living` are who lived before they were asked for. Answers with who should be deleted."""
        with self._books.lock:
            seen = {executor_of(pod) for pod in pods}
            for executor in set(living) - seen:
                self._vanished(executor)
            return [pod for pod in pods if self.one(pod)]

    def one(self, pod: Pod) -> bool:
        """A pod as it is now. True when it should be deleted."""
        with self._books.lock:
            entry = self._books.find(executor_of(pod)) or self.entry(pod)
            if entry.machine.ended_at is None:
                entry = self._judged(entry, pod)
            return entry.machine.ended_at is not None and "deletionTimestamp" not in pod["metadata"]

    def deleted(self, pod: Pod) -> None:
        """The cluster says that this pod is gone."""
        with self._books.lock:
            self.one(pod)
            self._vanished(executor_of(pod))

    def entry(self, pod: Pod) -> Entry:
        """A pod that the books do not have yet."""
        meta = pod["metadata"]
        machine = Machine(
            id=executor_of(pod),
            order=meta["labels"][p.ORDER],
            pool=self._pool,
            state=MachineState.BOOTING,
            slots=int(meta["annotations"][p.SLOTS]),
            launched_at=instant(meta["creationTimestamp"]),
        )
        return Entry(machine, meta["name"], meta["uid"])

    def await_gone(self, seconds: float) -> list[str]:
        """Who ended unasked since the last call; blocks while there is none."""
        with self._rung:
            self._rung.wait_for(lambda: self._gone or self._closed, seconds)
            gone, self._gone = self._gone, []
            return sorted(gone)

    def close(self) -> None:
        with self._rung:
            self._closed = True
            self._rung.notify_all()

    def _judged(self, entry: Entry, pod: Pod) -> Entry:
        verdict = judge(pod, now(), self._unschedulable)
        if verdict.state is MachineState.ENDED and verdict.ended_at is not None:
            unasked = VANISHED if "deletionTimestamp" in pod["metadata"] else ""
            return self._end(entry, verdict.ended_at, verdict.error or entry.words or unasked)
        return self._noted(entry, verdict)

    def _noted(self, entry: Entry, verdict: Verdict) -> Entry:
        words = verdict.error or entry.words
        noted = replace(entry, machine=replace(entry.machine, state=verdict.state), words=words)
        if noted != self._books.find(entry.machine.id):
            self._books.write(noted)
        return noted

    def _vanished(self, executor: str) -> None:
        entry = self._books.find(executor)
        if entry is not None and entry.machine.ended_at is None:
            self._end(entry, now(), entry.words or VANISHED)

    def _end(self, entry: Entry, at: datetime, error: str) -> Entry:
        ended = self._books.end(entry, at, error)
        self._gone.append(entry.machine.id)
        self._rung.notify_all()
        return ended


def executor_of(pod: Pod) -> str:
    return str(pod["metadata"]["labels"][p.EXECUTOR])
