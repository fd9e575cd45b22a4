"""The writing end of a slot's output. Standard library only: keepers use it."""

import os
from collections import deque

ROLL = 64 << 20
HEAD, TAIL = 56 << 20, 8 << 20  # what is kept of one attempt's output: 64 MiB


class Spooler:
    """Append-only output of a slot, in files SLOT-1, SLOT-2, … ; written when `flush` is called.

    Of an attempt that writes very much the middle is left out: its tail waits in memory until the attempt has ended.
    """

    def __init__(self, folder: str, slot: str, head: int = HEAD, tail: int = TAIL) -> None:
        self.folder, self.slot, self.head, self.most = folder, slot, head, tail
        numbers = [int(n.rpartition("-")[2]) for n in os.listdir(folder) if n.rpartition("-")[0] == slot]
        self.number, self.size, self.file, self.owner = max(numbers, default=0), 0, -1, ""
        self.held: list[bytes] = []
        self.gaps: list[tuple[str, int, int]] = []  # name and range of what the disk had no room for
        self._fresh(0)
        self.roll()

    def _fresh(self, limit: int) -> None:
        self.limit = limit
        self.tail: deque[bytes] = deque()
        self.waiting = self.cut = 0

    def roll(self) -> None:
        self.flush()
        if self.file >= 0:
            os.close(self.file)
        self.number, self.size = self.number + 1, 0
        self.name = f"{self.slot}-{self.number}"
        path = os.path.join(self.folder, self.name)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def begin(self, owner: str) -> int:
        """Where the next attempt's output starts; owners never share a file."""
        if self.size > ROLL or (owner != self.owner and self.size):
            self.roll()
        self.owner = owner
        self.limit = self.size + self.head
        return self.size

    def add(self, data: bytes) -> None:
        room = self.limit - self.size
        if len(data) > room:
            self._put_off(data[room:])
            data = data[:room]
        if data:
            self.held.append(data)
            self.size += len(data)

    def _put_off(self, data: bytes) -> None:
        self.tail.append(data)
        self.waiting += len(data)
        while self.waiting - len(self.tail[0]) >= self.most:
            gone = len(self.tail.popleft())
            self.waiting -= gone
            self.cut += gone

    @property
    def full(self) -> bool:
        """Whether what comes now goes to the tail."""
        return bool(self.tail)

    def end(self) -> str:
        """The attempt has ended: its tail comes after a line that says what was cut; a sentence if something was."""
        if not self.tail:
            return ""
        cut, tail = self.cut, b"".join(self.tail)
        if cut:
            cut += max(0, len(tail) - self.most)
            tail = b"\n[farm: %s bytes were cut here]\n" % f"{cut:,}".encode() + tail[-self.most :]
        self._fresh(self.limit + len(tail))
        self.add(tail)
        return f"{cut:,} bytes were cut from the middle of its log" if cut else ""

    def complaint(self, name: str, lo: int, hi: int) -> str:
        """A sentence if the disk had no room for some of that range. What it had none for before that is forgotten."""
        if not self.gaps:
            return ""
        missing = sum(max(0, min(hi, to) - max(lo, of)) for file, of, to in self.gaps if file == name)
        self.gaps = [gap for gap in self.gaps if not (gap[0] == name and gap[2] <= hi)]
        return f"the executor's disk is full: {missing:,} bytes of output are missing" if missing else ""

    def _gap(self, start: int) -> None:
        """From there to the end; with what was missing just before it one gap, however long the disk is full."""
        if self.gaps and self.gaps[-1][0] == self.name and self.gaps[-1][2] == start:
            start = self.gaps.pop()[1]
        self.gaps.append((self.name, start, self.size))

    def flush(self) -> None:
        data, self.held = b"".join(self.held), []
        while data:
            try:
                data = data[os.write(self.file, data) :]
            except OSError:  # a full disk must not end the task: the gap reads as zeros
                self._gap(self.size - len(data))
                os.ftruncate(self.file, self.size)
                return
