"""Events of many executors on their way to the farm."""

import threading
from collections.abc import Sequence

from executors.contract import Cursor, Event

ROOM_BYTES = 16_000_000
ROOM_EVENTS = 50_000


class Feed:
    """Holds events until they are acknowledged; full per executor, so that a silent farm costs little memory."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, list[Event]] = {}
        self._bytes: dict[str, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._closed = self._nudged = False

    def put(self, executor: str, events: Sequence[Event]) -> None:
        """Append; blocks while there is no room. Numbers seen before are dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._room(executor))
            held = self._held.setdefault(executor, [])
            last = held[-1].seq if held else self._acknowledged.get(executor, 0)
            fresh = [e for e in events if e.seq > last]
            held.extend(fresh)
            self._bytes[executor] = self._bytes.get(executor, 0) + _size(fresh)
            self._changed.notify_all()

    def _room(self, executor: str) -> bool:
        return len(self._held.get(executor, ())) < ROOM_EVENTS and self._bytes.get(executor, 0) < ROOM_BYTES

    def after(self, cursor: Cursor, wait_s: float) -> dict[str, list[Event]]:
        """Events beyond the cursor; blocks up to `wait_s` while there are none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._nudged or bool(self._beyond(cursor)), wait_s)
            self._nudged = False
            return self._beyond(cursor)

    def _beyond(self, cursor: Cursor) -> dict[str, list[Event]]:
        fresh = {who: _tail(held, cursor.get(who, 0)) for who, held in self._held.items()}
        return {who: events for who, events in fresh.items() if events}

    def acknowledge(self, upto: Cursor) -> None:
        with self._changed:
            for who, seq in upto.items():
                self._acknowledged[who] = max(seq, self._acknowledged.get(who, 0))
                self._forget(who, seq)
            self._changed.notify_all()

    def _forget(self, who: str, seq: int) -> None:
        held = self._held.pop(who, [])
        if kept := _tail(held, seq):
            self._held[who] = kept
            self._bytes[who] -= _size(held[: len(held) - len(kept)])
        else:
            self._bytes.pop(who, None)

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


def _tail(held: list[Event], seq: int) -> list[Event]:
    """Events numbered beyond `seq`. Numbers have no gaps, so the place is known."""
    if not held:
        return held
    return held[max(0, seq - held[0].seq + 1) :]


def _size(events: Sequence[Event]) -> int:
    return sum(len(e.data) for e in events)
