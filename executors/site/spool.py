"""The output files of an executor, read by range. Keepers write them: SLOT-1, SLOT-2, … per slot."""

import contextlib
import os
from pathlib import Path

CHUNK = 1 << 20


class Spools:
    """Files are dropped once nothing unacknowledged points at them and their slot has gone on to a newer one.

    Not thread-safe for one name at a time; the journal's lock guards it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files: dict[str, int] = {}
        self._last: dict[str, int] = {}
        for path in self.folder.iterdir():
            self._last[path.name] = 0

    def size(self, name: str) -> int:
        """Bytes written so far; 0 when there is no such file."""
        try:
            return os.stat(self.folder / name).st_size
        except FileNotFoundError:
            return 0

    def read(self, name: str, lo: int, hi: int) -> bytes:
        """Exactly hi - lo bytes; what is missing on disk reads as zeros, so that offsets stay true."""
        try:
            file = self._open(name)
        except FileNotFoundError:
            return bytes(hi - lo)
        data = os.pread(file, hi - lo, lo)
        return data if len(data) == hi - lo else data.ljust(hi - lo, b"\0")

    def _open(self, name: str) -> int:
        if name not in self._files:
            self._files[name] = os.open(self.folder / name, os.O_RDONLY)
        return self._files[name]

    def used(self, name: str, seq: int) -> None:
        """Event `seq` points at this file."""
        self._last[name] = seq

    def trim(self, acknowledged: int) -> None:
        """Drop files that nobody can ask for any more."""
        if len(self._last) < 2:
            return
        newest: dict[str, int] = {}
        for name in self._last:
            slot, _, number = name.rpartition("-")
            newest[slot] = max(newest.get(slot, 0), int(number))
        for name, last in list(self._last.items()):
            slot, _, number = name.rpartition("-")
            if last <= acknowledged and int(number) < newest[slot]:
                self._drop(name)

    def _drop(self, name: str) -> None:
        del self._last[name]
        if name in self._files:
            os.close(self._files.pop(name))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / name)

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files.clear()
