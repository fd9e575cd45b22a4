"""What happened on an executor, numbered and kept on its disk until the farm has it."""

import os
import threading
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from executors.contract import Event, EventKind
from executors.packed import Events, Went, event, line
from executors.site.spool import Spools

SEGMENT = 4 << 20
ANSWER_EVENTS = 2000
ANSWER_BYTES = 4 << 20

Facts = Mapping[str, Any] | Went
"""The fields of an event but its number."""


class _Kept(NamedTuple):
    """An event as it is on disk, and where its output is if it is a log event."""

    line: bytes
    spool: str = ""
    lo: int = 0
    hi: int = 0


class Journal:
    """Append-only segments named by the number of their first event; one write per group, output stays in the spools.

    Not fsynced: an executor whose host lost power is lost as a whole; what the farm acknowledged is on the farm's disk.
    """

    def __init__(self, folder: str, spools: Spools) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._spools = spools
        self._more = threading.Condition()
        self._kept: list[_Kept] = []
        self._next = 1
        self._acknowledged = 0
        self._nudges, self._stirred = 0, False
        self._starts = sorted(int(path.stem) for path in self._folder.glob("*.jsonl"))
        for start in self._starts:
            self._load(self._path(start))
        self._file = self._segment()
        self._unwritten = bytearray()

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:015}.jsonl"

    def _load(self, path: Path) -> None:
        """Read a segment back; a last line that was cut off by a crash counts for nothing, and goes: the next one may
        be written in its place."""
        self._next = int(path.stem)
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
        for text in data[:whole].splitlines(keepends=True):
            found = event(text)
            self._keep(text, found.kind, found.spool, found.lo, found.hi)

    def _segment(self) -> IO[bytes]:
        file = open(self._path(self._next), "ab", buffering=0)
        if self._next not in self._starts:
            self._starts.append(self._next)
        return file

    def _keep(self, text: bytes, kind: EventKind, spool: str = "", lo: int = 0, hi: int = 0) -> None:
        self._kept.append(_Kept(text, spool, lo, hi) if kind is EventKind.LOG else _Kept(text))
        if spool:
            self._spools.used(spool, self._next)
        self._next += 1

    def append(self, facts: Sequence[Facts]) -> None:
        """Number these, keep them, wake who waits for them."""
        with self._more:
            before = len(self._kept)
            for fact in facts:
                if isinstance(fact, Went):
                    self._keep(fact.line(self._next), EventKind.FINISHED, fact.spool)
                    continue
                text = line(self._next, fact)
                self._keep(text, fact["kind"], fact.get("spool", ""), fact.get("lo", 0), fact.get("hi", 0))
            self._unwritten += b"".join(kept.line for kept in islice(self._kept, before, None))
            try:
                self._write()
            except OSError:  # no room: the farm gets it from memory, and the disk as soon as it takes it
                pass
            self._more.notify_all()

    def _write(self) -> None:
        """Bring everything to the disk, which may take a part and no more. Raises OSError."""
        while self._unwritten:
            del self._unwritten[: self._file.write(self._unwritten)]
        if self._file.tell() > SEGMENT:
            fresh = self._segment()
            self._file.close()
            self._file = fresh

    @property
    def _first(self) -> int:
        """Number of the oldest event that is kept."""
        return self._next - len(self._kept)

    def after(self, seq: int, wait_s: float, gather_s: float = 0) -> Events:
        """Events beyond `seq`, with their output; a bounded answer. Blocks up to `wait_s` while there are none, and
        then another `gather_s` for more of them. Once after each `stir` it brings none, at once."""
        with self._more:
            nudges = self._nudges
            self._more.wait_for(lambda: self._next > seq + 1 or self._nudges != nudges or self._stirred, wait_s)
            if gather_s and not self._stirred:
                self._more.wait_for(lambda: self._next > seq + ANSWER_EVENTS or self._nudges != nudges, gather_s)
            start = max(0, seq + 1 - self._first)
            found = self._fitting(self._kept[start : start + ANSWER_EVENTS])
            self._stirred = self._stirred and bool(found)
            data = b"".join(self._spools.read(k.spool, k.lo, k.hi) for k in found if k.spool)
            first = self._first + start
            return Events(first, first + len(found) - 1, b"".join(k.line for k in found), data)

    def _fitting(self, kept: Sequence[_Kept]) -> Sequence[_Kept]:
        """As many as have room in one answer, at least one."""
        size = 0
        for n, one in enumerate(kept):
            size += one.hi - one.lo
            if size > ANSWER_BYTES and n:
                return kept[:n]
        return kept

    def acknowledge(self, seq: int) -> None:
        """The farm has everything up to `seq`; forget it. Going back is ignored."""
        with self._more:
            seq = min(seq, self._next - 1)
            if seq <= self._acknowledged:
                return
            self._acknowledged = seq
            del self._kept[: seq + 1 - self._first]
            self._spools.trim(seq)
            self._drop_segments(seq)

    def _drop_segments(self, seq: int) -> None:
        """A segment is done with when the next one starts within what is acknowledged; the last one carries on."""
        while len(self._starts) > 1 and self._starts[1] <= seq + 1:
            self._path(self._starts.pop(0)).unlink(missing_ok=True)

    def unfinished(self) -> dict[str, Event]:
        """Attempts whose end is not recorded: what a dead agent left."""
        events = self._all()
        begun = {e.attempt: e for e in events if e.kind is not EventKind.FINISHED}
        ended = {e.attempt for e in events if e.kind is EventKind.FINISHED}
        return {attempt: found for attempt, found in begun.items() if attempt not in ended}

    def finished(self) -> list[Event]:
        return [e for e in self._all() if e.kind is EventKind.FINISHED]

    def _all(self) -> list[Event]:
        """Without the bytes of log events."""
        with self._more:
            kept = list(self._kept)
        return [event(one.line) for one in kept]

    @property
    def last(self) -> int:
        with self._more:
            return self._next - 1

    def stir(self) -> None:
        """There are other processes than before: who polls asks for them when nothing is brought early."""
        with self._more:
            self._stirred = True
            self._more.notify_all()

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
