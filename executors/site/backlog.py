"""Work that an executor has been handed: which of it waits, and which slots may take it."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from executors.contract import Event, Running, Work

REMEMBERED = 20_000


@dataclass(slots=True)
class Entry:
    """`slot` is -1 while it waits; `finished` is known by the journal until it is acknowledged."""

    work: Work
    slot: int = -1
    cancelled: bool = False


def solo(work: Work) -> bool:
    """Work that needs its slot to itself before and after: a folder of its own, or more than one slot."""
    return work.slots > 1 or wants_folder(work)


def wants_folder(work: Work) -> bool:
    return bool(work.inputs or work.outputs or (work.cwd and not work.cwd.startswith("/")))


class Backlog:
    """First come, first served over `slots` slots. A work of several slots waits until enough of them are idle."""

    def __init__(self, slots: int, wake: Callable[[], None]) -> None:
        self.slots, self.wake = slots, wake
        self._lock = threading.Condition()
        self._pending: deque[Entry] = deque()
        self._entries: dict[str, Entry] = {}
        self._known: dict[str, None] = {}
        self._busy = [0] * slots
        self._lent: dict[int, int] = {}
        self._open = True
        self._enough = 0

    def add(self, works: Iterable[Work]) -> None:
        """Take works in; those that were ever seen are left alone."""
        with self._lock:
            for work in works:
                if work.attempt in self._known or not self._open:
                    continue
                self._remember(work.attempt)
                entry = self._entries[work.attempt] = Entry(work)
                self._pending.append(entry)
            self._enough = len(self._entries) // 2

    def news(self, works: Iterable[Work]) -> list[Work]:
        """Those never seen before, which are known from now on."""
        with self._lock:
            fresh = [work for work in works if work.attempt not in self._known]
            for work in fresh:
                self._remember(work.attempt)
            return fresh

    def _remember(self, attempt: str) -> None:
        self._known[attempt] = None
        if len(self._known) > REMEMBERED:
            oldest = next(a for a in self._known if a not in self._entries)
            del self._known[oldest]

    def know(self, attempts: Iterable[str]) -> None:
        """Attempts of an earlier life of this executor."""
        with self._lock:
            for attempt in attempts:
                self._remember(attempt)

    def take(self, slot: int, room: int) -> list[Work]:
        """Up to `room` works for this slot, its fair share of what waits; solo work comes alone to an idle slot."""
        with self._lock:
            if slot in self._lent or room <= 0:
                return []
            room = min(room, -(-len(self._pending) // self.slots))
            taken: list[Work] = []
            while self._pending and len(taken) < room:
                head = self._pending[0]
                if solo(head.work) and (self._busy[slot] or not self._borrow(slot, head.work)):
                    break
                self._pending.popleft()
                head.slot = slot
                self._busy[slot] += 1
                taken.append(head.work)
                if solo(head.work):
                    break
            return taken

    def _borrow(self, slot: int, work: Work) -> bool:
        """Reserve the other slots that a work needs; all or none."""
        need = min(work.slots, self.slots) - 1
        idle = [s for s in range(self.slots) if s != slot and not self._busy[s] and s not in self._lent]
        if len(idle) < need:
            return False
        self._lent.update((s, slot) for s in idle[:need])
        return True

    def give_back(self, slot: int, attempts: Sequence[str]) -> list[Work]:
        """A keeper returned these unstarted: to the front with them. Answers those that were cancelled meanwhile;
        `forget` them once their end is recorded."""
        with self._lock:
            entries = [self._entries[a] for a in attempts]
            self._busy[slot] -= len(entries)
            for entry in reversed(entries):
                entry.slot = -1
                if not entry.cancelled:
                    self._pending.appendleft(entry)
            return [e.work for e in entries if e.cancelled]

    def forget(self, works: Iterable[Work]) -> None:
        """These never got a slot, and their end is recorded."""
        with self._lock:
            for work in works:
                del self._entries[work.attempt]
            self._lock.notify_all()

    def finished(self, slot: int, attempts: Iterable[str]) -> None:
        """These have ended on `slot`; what they had borrowed is free again."""
        with self._lock:
            for attempt in attempts:
                self._entries.pop(attempt)
                self._busy[slot] -= 1
            freed = not self._busy[slot] and slot in self._lent.values()
            if freed:
                self._lent = {s: lead for s, lead in self._lent.items() if lead != slot}
            self._lock.notify_all()
        if freed:
            self.wake()

    def cancel(self, attempts: Collection[str]) -> tuple[list[Work], list[tuple[int, str]]]:
        """What never got a slot (to be recorded, then `forget`), and (slot, attempt) of what has one."""
        with self._lock:
            entries = [self._entries[a] for a in dict.fromkeys(attempts) if a in self._entries]
            waiting = [e for e in entries if e.slot < 0 and not e.cancelled]
            for entry in entries:
                entry.cancelled = True
            for entry in waiting:
                self._pending.remove(entry)
            return [e.work for e in waiting], [(e.slot, e.work.attempt) for e in entries if e.slot >= 0]

    def close(self) -> list[str]:
        """Take nothing in any more; all attempts that are still here."""
        with self._lock:
            self._open = False
            return list(self._entries)

    @property
    def low(self) -> bool:
        """Whether half of what was here when work came last has ended: time to hear of more. Once that has been `told`,
        whether a slot has nothing to do."""
        return len(self._entries) <= self._enough

    def told(self) -> None:
        """The farm is being told how little there is; more comes soon, or there is none."""
        with self._lock:
            self._enough = min(self._enough, self.slots - 1)

    def settled(self, wait_s: float) -> bool:
        """Block until nothing is left here, or until the time is up; whether nothing is."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._entries, wait_s)

    def snapshot(self, executor: str, finished: Iterable[Event], running: Collection[str]) -> list[Running]:
        """Every attempt known here; `finished` are those the farm has not acknowledged."""
        ended = [Running(executor, e.attempt, e.token, "finished") for e in finished]
        with self._lock:
            done = {r.attempt for r in ended}
            alive = [e.work for e in self._entries.values() if e.work.attempt not in done]
        return ended + [
            Running(executor, w.attempt, w.token, "running" if w.attempt in running else "waiting") for w in alive
        ]
