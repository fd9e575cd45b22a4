"""Files by content: what a task needs and what it made, under the sha256 of their bytes."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from executors.contract import FileRef
from executors.incoming import Incoming, sweep

CHUNK = 1 << 20
SYNCS = 16  # at once, when many files come together
NOFOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC


class Damaged(Exception):
    """The stored bytes are not those that were put in; the text names the file and what to do."""


class Missing(Exception):
    """The store has no file of this digest."""


class BadPath(Exception):
    """A path that would leave the folder it belongs to."""


class Store(Protocol):
    """Content-addressed files. Digests are sha256 in lower-case hex."""

    def put_bytes(self, data: bytes, /) -> str: ...

    def put_file(self, path: str | os.PathLike[str], /) -> str: ...

    def has(self, digest: str, /) -> bool: ...

    def read(self, digest: str, /) -> bytes: ...

    def open(self, digest: str, /) -> BinaryIO: ...

    def place(self, ref: FileRef, folder: str | os.PathLike[str], /) -> None: ...


class FolderStore:
    """ROOT/ab/cdef… per digest. Files appear there whole and on disk, or not at all; they are read-only and never
    share an inode with anything outside."""

    private: Sequence[str] = ()  # what tasks shall not see of whose store it is

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._fresh = self.root / "incoming"
        self._fresh.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, digest: str) -> Path:
        """Where this digest lives. Raises ValueError when it is no digest."""
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"{digest[:80]!r} is no sha256 in lower-case hex")
        return self.root / digest[:2] / digest[2:]

    def put_bytes(self, data: bytes, /) -> str:
        digest = hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            self._keep(iter([data]))
        return digest

    def put_file(self, path: str | os.PathLike[str], /) -> str:
        """Copy a file in; safe against its being changed meanwhile: the digest is that of what was copied.

        Raises OSError when it can't be read.
        """
        with open(path, "rb") as file:
            return self._keep(_chunks(file))

    def put_stream(self, file: BinaryIO, /) -> str:
        """Copy an open file in, from where it stands."""
        return self._keep(_chunks(file))

    def incoming(self) -> Incoming:
        """A file to be written piece by piece; `take` it then, and `drop` it in any case."""
        return Incoming(self._fresh)

    def take(self, coming: Incoming) -> str:
        """Make a written file one of the store's; its digest."""
        coming.finish()
        self._name(coming.path, coming.digest)
        return coming.digest

    def take_all(self, coming: Sequence[Incoming]) -> None:
        """As `take` of each, and many times quicker: the disk is waited for once, not once per file."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(SYNCS) as pool:
            list(pool.map(Incoming.finish, coming))
            folders = {self._rename(one.path, one.digest) for one in coming}
            list(pool.map(_sync_folder, folders))

    def bear_with(self, still: Callable[[], bool]) -> None:
        """The calling thread waits for files from elsewhere only while this holds. Here nobody waits."""

    def sweep(self) -> int:
        """Remove what writers that were killed left behind; how many files."""
        return sweep(self._fresh)

    def _keep(self, chunks: Iterator[bytes]) -> str:
        coming = self.incoming()
        try:
            for chunk in chunks:
                coming.write(chunk)
            return self.take(coming)
        finally:
            coming.drop()

    def _name(self, temporary: Path, digest: str) -> None:
        _sync_folder(self._rename(temporary, digest))

    def _rename(self, temporary: Path, digest: str) -> Path:
        """The folder that is to be synced then."""
        final = self.path(digest)
        if not final.parent.is_dir():
            final.parent.mkdir(exist_ok=True, mode=0o700)
            _sync_folder(self.root)
        os.replace(temporary, final)  # an equal or a damaged file there is replaced by one just written
        return final.parent

    def has(self, digest: str, /) -> bool:
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Raises Missing."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise Missing(f"the store has no file {digest}") from None

    def open(self, digest: str, /) -> BinaryIO:
        """The bytes as they are, unchecked: for streaming. Raises Missing."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise Missing(f"the store has no file {digest}") from None

    def read(self, digest: str, /) -> bytes:
        """The checked bytes. Raises Missing, Damaged."""
        with self.open(digest) as file:
            data = file.read()
        self._check(hashlib.sha256(data).hexdigest(), digest)
        return data

    def _check(self, found: str, digest: str) -> None:
        if found != digest:
            raise Damaged(f"the stored file {self.path(digest)} is damaged (its bytes are {found}); put it in again")

    def place(self, ref: FileRef, folder: str | os.PathLike[str], /) -> None:
        """Copy a file to `folder`/`ref.path`, folders made as needed; a task may do with the copy what it likes.

        Never follows a link and never leaves the folder. Raises BadPath, Missing, Damaged, OSError; after Damaged
        nothing is left at the path.
        """
        *parents, name = parts(ref.path)
        inside = _descend(folder, parents)
        try:
            with self.open(ref.digest) as source:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW
                target = os.open(name, flags, 0o600, dir_fd=inside)
                with open(target, "wb") as out:
                    self._copy(source, out, ref)
        except Damaged:
            os.unlink(name, dir_fd=inside)
            raise
        finally:
            os.close(inside)

    def _copy(self, source: BinaryIO, out: BinaryIO, ref: FileRef) -> None:
        seen = hashlib.sha256()
        for chunk in _chunks(source):
            seen.update(chunk)
            out.write(chunk)
        self._check(seen.hexdigest(), ref.digest)
        out.flush()
        os.fchmod(out.fileno(), stat.S_IMODE(ref.mode) & 0o777)


def parts(path: str) -> tuple[str, ...]:
    """The names of a relative POSIX path. Raises BadPath for one that is absolute, empty or has `..` in it."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts or "\0" in path:
        raise BadPath(f"{path!r} leaves its folder; give a relative path without '..'")
    return pure.parts


def _descend(folder: str | os.PathLike[str], names: list[str]) -> int:
    """Open folder/names…, made as needed, refusing links on the way; the descriptor of the last one."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            _make(name, here)
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | NOFOLLOW, dir_fd=here)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise BadPath(f"{'/'.join(names)!r} goes through {name!r}, which is no folder") from error
            raise
        finally:
            os.close(here)
        here = deeper
    return here


def _make(name: str, inside: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=inside)
    except FileExistsError:
        pass


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
