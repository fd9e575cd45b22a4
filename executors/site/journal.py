"""What happened on an executor, numbered and kept on its disk until the farm has it."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from executors.contract import Event, EventKind, FileRef
from executors.site.spool import Spools

SEGMENT = 4 << 20
ANSWER_EVENTS = 2000
ANSWER_BYTES = 4 << 20

_ENCODER = json.JSONEncoder(default=asdict, separators=(",", ":"))

Facts = Mapping[str, Any]
"""The fields of an event but its number."""


class Journal:
    """Append-only segments named by the number of their first event; one write per group, output stays in the spools.

    Not fsynced: an executor whose host lost power is lost as a whole; what the farm acknowledged is on the farm's disk.
    """

    def __init__(self, folder: str, spools: Spools) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._spools = spools
        self._more = threading.Condition()
        self._events: list[Event] = []
        self._next = 1
        self._acknowledged = 0
        self._nudges = 0
        self._starts = sorted(int(path.stem) for path in self._folder.glob("*.jsonl"))
        for start in self._starts:
            self._load(self._path(start))
        self._file = self._segment()

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:015}.jsonl"

    def _load(self, path: Path) -> None:
        """Read a segment back; a last line that was cut off by a crash counts for nothing."""
        self._next = int(path.stem)
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            event = _event(json.loads(line))
            self._events.append(event)
            self._note(event)
            self._next = event.seq + 1

    def _segment(self) -> IO[bytes]:
        if self._next not in self._starts:
            self._starts.append(self._next)
        return open(self._path(self._next), "ab", buffering=0)

    def _note(self, event: Event) -> None:
        if event.spool:
            self._spools.used(event.spool, event.seq)

    def append(self, facts: Sequence[Facts]) -> None:
        """Number these, keep them, wake who waits for them."""
        with self._more:
            lines = []
            for fact in facts:
                event = Event(seq=self._next, **fact)
                self._next += 1
                self._events.append(event)
                self._note(event)
                lines.append(_ENCODER.encode({"seq": event.seq, **fact}))
            self._file.write(("\n".join(lines) + "\n").encode() if lines else b"")
            if self._file.tell() > SEGMENT:
                self._file.close()
                self._file = self._segment()
            self._more.notify_all()

    def after(self, seq: int, wait_s: float) -> list[Event]:
        """Events beyond `seq`, with their output; a bounded answer. Blocks up to `wait_s` while there are none."""
        with self._more:
            nudges = self._nudges
            self._more.wait_for(lambda: self._next > seq + 1 or self._nudges != nudges, wait_s)
            first = self._events[0].seq if self._events else self._next
            start = max(0, seq + 1 - first)
            return self._filled(self._events[start : start + ANSWER_EVENTS])

    def _filled(self, events: Sequence[Event]) -> list[Event]:
        filled: list[Event] = []
        size = 0
        for event in events:
            if event.kind is EventKind.LOG:
                size += event.hi - event.lo
                if size > ANSWER_BYTES and filled:
                    break
                event = replace(event, data=self._spools.read(event.spool, event.lo, event.hi))
            filled.append(event)
        return filled

    def acknowledge(self, seq: int) -> None:
        """The farm has everything up to `seq`; forget it. Going back is ignored."""
        with self._more:
            seq = min(seq, self._next - 1)
            if seq <= self._acknowledged:
                return
            self._acknowledged = seq
            first = self._events[0].seq if self._events else self._next
            del self._events[: seq + 1 - first]
            self._spools.trim(seq)
            self._drop_segments(seq)

    def _drop_segments(self, seq: int) -> None:
        """A segment is done with when the next one starts within what is acknowledged; the last one carries on."""
        while len(self._starts) > 1 and self._starts[1] <= seq + 1:
            self._path(self._starts.pop(0)).unlink(missing_ok=True)

    def unfinished(self) -> dict[str, Event]:
        """Attempts whose end is not recorded: what a dead agent left."""
        with self._more:
            begun = {e.attempt: e for e in self._events if e.kind is not EventKind.FINISHED}
            ended = {e.attempt for e in self._events if e.kind is EventKind.FINISHED}
            return {attempt: event for attempt, event in begun.items() if attempt not in ended}

    def finished(self) -> list[Event]:
        with self._more:
            return [e for e in self._events if e.kind is EventKind.FINISHED]

    @property
    def last(self) -> int:
        with self._more:
            return self._next - 1

    def nudge(self) -> None:
        """Let those who wait now go on without an event."""
        with self._more:
            self._nudges += 1
            self._more.notify_all()

    def close(self) -> None:
        """Nothing more is appended or read."""
        self.nudge()
        with self._more:
            self._file.close()
            self._spools.close()


def _event(raw: dict[str, Any]) -> Event:
    raw["kind"] = EventKind(raw["kind"])
    raw["outputs"] = tuple(FileRef(**o) for o in raw.get("outputs", ()))
    return Event(**raw)
