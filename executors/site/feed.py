"""Events of many executors on their way to the farm."""

import threading
from collections.abc import Iterable, Sequence

from executors.contract import Cursor, Event
from executors.packed import Events

ROOM_BYTES = 16_000_000
MOST_BYTES = 4_000_000  # of one executor in one answer
MANY, HEAVY = 3, 256 << 10  # events in one answer; bytes of output in it


def worth_gathering(parts: Iterable[Sequence[Event]]) -> bool:
    """Whether the next answer had better wait for more: many short tasks cost less in fewer, larger reports. What tasks
    print is waited for by somebody, and large enough."""
    found = [Events.of(part) for part in parts]
    return sum(map(len, found)) >= MANY and sum(len(part.data) for part in found) < HEAVY


class Feed:
    """Holds events until they are acknowledged; full per executor, so that a silent farm costs little memory."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, list[Events]] = {}
        self._acknowledged: dict[str, int] = {}
        self._closed = self._nudged = False

    def put(self, executor: str, events: Events) -> None:
        """Append; blocks while there is no room. Numbers seen before are dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._room(executor))
            held = self._held.setdefault(executor, [])
            fresh = events.beyond(held[-1].last if held else self._acknowledged.get(executor, 0))
            if fresh:
                held.append(fresh)
            self._changed.notify_all()

    def _room(self, executor: str) -> bool:
        return sum(part.size for part in self._held.get(executor, ())) < ROOM_BYTES

    def after(self, cursor: Cursor, wait_s: float) -> dict[str, Events]:
        """Events beyond the cursor, a bounded answer; blocks up to `wait_s` while there are none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._nudged or bool(self._beyond(cursor)), wait_s)
            self._nudged = False
            found = self._beyond(cursor)
        return {who: Events.joined(_fitting(parts)).beyond(self._seen(cursor, who)) for who, parts in found.items()}

    def _beyond(self, cursor: Cursor) -> dict[str, list[Events]]:
        fresh = {who: _tail(held, self._seen(cursor, who)) for who, held in self._held.items()}
        return {who: parts for who, parts in fresh.items() if parts}

    def _seen(self, cursor: Cursor, who: str) -> int:
        return max(cursor.get(who, 0), self._acknowledged.get(who, 0))

    def acknowledge(self, upto: Cursor) -> None:
        with self._changed:
            for who, seq in upto.items():
                self._acknowledged[who] = max(seq, self._acknowledged.get(who, 0))
                if kept := _tail(self._held.pop(who, []), seq):
                    self._held[who] = kept
            self._changed.notify_all()

    def acknowledged(self, executor: str) -> int:
        return self._acknowledged.get(executor, 0)

    def nudge(self) -> None:
        """Let those who wait for events look around: something else has happened."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Let every waiter go, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _tail(held: list[Events], seq: int) -> list[Events]:
    """The parts that reach beyond `seq`."""
    return [part for part in held if part.last > seq]


def _fitting(parts: list[Events]) -> list[Events]:
    """As many as have room in one answer, at least one."""
    room = MOST_BYTES
    for n, part in enumerate(parts):
        room -= part.size
        if room < 0 and n:
            return parts[:n]
    return parts
