"""Many small files in one request: `DIGEST SIZE LF CONTENTS`, repeated. Each is verified before it is taken."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from farm.refusal import Refusal

if TYPE_CHECKING:
    from executors.incoming import Incoming
    from farm.store import Store

SMALL = 256 << 10  # bytes of a file that is packed; larger ones come by themselves
MOST_BYTES = 8 << 20  # of one pack
MOST_FILES = 4096
GROUP = 128  # files that are open at once
_HEAD = re.compile(rb"([0-9a-f]{64}) ([0-9]{1,15})")
_LONGEST = 64 + 1 + 15 + 1


def packed(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Packs of files, each given as digest and contents."""
    pack, count = bytearray(), 0
    for digest, data in files:
        if count == MOST_FILES or (count and len(pack) + len(data) > MOST_BYTES):
            yield bytes(pack)
            pack, count = bytearray(), 0
        pack += b"%s %d\n" % (digest.encode(), len(data))
        pack += data
        count += 1
    if count:
        yield bytes(pack)


class Unpacking:
    """Takes a pack into a store as it comes, in any pieces. `drop` it in any case. Methods raise Refusal, OSError."""

    def __init__(self, store: "Store", largest: int) -> None:
        self._store, self._largest = store, largest
        self._head = bytearray()
        self._coming: Incoming | None = None
        self._wanted, self._left = "", 0
        self._group: list[Incoming] = []
        self.files = 0  # taken so far

    def feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._begin(rest) if self._coming is None else self._go_on(rest) :]

    def end(self) -> None:
        """All of it has come."""
        if self._head or self._coming is not None:
            raise _damaged(self.files, "it ends in the middle of a file")
        self._take()

    def drop(self) -> None:
        """What was not taken into the store is gone."""
        for coming in (*self._group, *([self._coming] if self._coming else [])):
            coming.drop()

    def _begin(self, rest: memoryview) -> int:
        """How many bytes belong to the head of a file."""
        some = bytes(rest[: _LONGEST - len(self._head)])
        end = some.find(b"\n")
        self._head += some[:end] if end >= 0 else some
        if end < 0:
            if len(self._head) >= _LONGEST:
                raise _damaged(self.files, "a file does not begin with its digest and size")
            return len(some)
        self._open()
        return end + 1

    def _open(self) -> None:
        match = _HEAD.fullmatch(self._head)
        if match is None:
            raise _damaged(self.files, "a file does not begin with its digest and size")
        self._wanted, self._left = match[1].decode(), int(match[2])
        self._head.clear()
        if self._left > self._largest:
            raise Refusal(f"a file has {self._left:,} bytes, and {self._largest:,} are taken", "the pack", "split it")
        self._coming = self._store.incoming()
        self._close_if_whole()

    def _go_on(self, rest: memoryview) -> int:
        assert self._coming is not None
        some = rest[: self._left]
        self._coming.write(bytes(some))
        self._left -= len(some)
        self._close_if_whole()
        return len(some)

    def _close_if_whole(self) -> None:
        if self._left or self._coming is None:
            return
        if self._coming.digest != self._wanted:
            raise _damaged(self.files, f"the sha256 of the contents is {self._coming.digest}, not {self._wanted}")
        self._group.append(self._coming)
        self._coming = None
        if len(self._group) == GROUP:
            self._take()

    def _take(self) -> None:
        self._store.take_all(self._group)
        self.files += len(self._group)
        while self._group:
            self._group.pop().drop()


def _damaged(files: int, why: str) -> Refusal:
    return Refusal(f"the pack is damaged: {why}", "store/pack", f"send it again; {files} files of it were kept")
