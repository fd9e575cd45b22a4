"""A file on its way into a store: under a name of its own, locked for as long as somebody writes it."""

import fcntl
import hashlib
import os
import secrets
import time
from pathlib import Path

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FRESH_S = 60.0  # between being made and being locked a file looks left behind


class Incoming:
    """Write it, then `finish` it and give it its name, or `drop` it. Every method raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(8)
        self._file = open(os.open(self.path, FLAGS, 0o400), "wb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._seen = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of what has been written."""
        return self._seen.hexdigest()

    def write(self, data: bytes) -> None:
        self._seen.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """All of it is on the disk when this returns."""
        os.fsync(self._file.fileno())

    def drop(self) -> None:
        """Close it; what has no name of its own by now is gone. Repeating it is fine."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def sweep(folder: Path) -> int:
    """Remove what writers that are no more left behind; how many files. What is being written is locked, and stays."""
    swept = 0
    for path in folder.iterdir():
        try:
            swept += _left(path)
        except OSError:
            continue  # gone meanwhile, being written, or not ours to remove
    return swept


def _left(path: Path) -> bool:
    if abs(time.time() - path.stat().st_mtime) < FRESH_S:
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)
    return True
