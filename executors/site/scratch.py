"""Folders of an executor's works: inputs placed, outputs collected, nothing taken from or left outside."""

import errno
import glob
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from executors.contract import FileRef, Work
from executors.site.rubble import empty
from executors.store import BadPath, Damaged, FolderStore, Missing, parts


class NoInputs(Exception):
    """The work's folder can't be prepared; one sentence for its owner."""


class NoRoom(NoInputs):
    """The disk is full, now."""


class NoOutputs(Exception):
    """What the work was to leave is not there; one sentence for its owner."""


class Desk:
    """The folder of one work that has inputs or outputs; the command runs in `cwd`."""

    def __init__(self, root: Path, work: Work) -> None:
        self.work = work
        self.folder = root / work.attempt.replace("/", "_")
        self.cwd = os.path.join(self.folder, work.cwd)
        self._out: set[str] = set()  # links that were no outputs because they lead out

    def prepare(self, store: FolderStore) -> None:
        """A fresh folder with the inputs in it. Raises NoInputs, NoRoom."""
        empty(str(self.folder))
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for ref in self.work.inputs:
                store.place(ref, self.folder)
            if self.work.cwd and not os.path.isabs(self.work.cwd):
                self.folder.joinpath(*parts(self.work.cwd)).mkdir(parents=True, exist_ok=True)
        except (BadPath, Damaged, Missing, ValueError) as error:
            raise NoInputs(str(error)) from error
        except OSError as error:
            kind = NoRoom if error.errno in (errno.ENOSPC, errno.EDQUOT) else NoInputs
            raise kind(f"the inputs can't be placed: {error.strerror} ({error.filename})") from error

    def collect(self, store: FolderStore) -> tuple[FileRef, ...]:
        """Put everything the patterns match into the store, on disk when this returns. Raises NoOutputs."""
        found: dict[str, FileRef] = {}
        for pattern in self.work.outputs:
            files = list(self._match(pattern))
            if not files:
                what = f"nothing matches the output {pattern!r} below the working folder"
                raise NoOutputs(": ".join(filter(None, (what, self.left_out()))))
            for path in files:
                if path not in found:
                    found[path] = self._put(path, store)
        return tuple(found[path] for path in sorted(found))

    def left_out(self) -> str:
        """What a pattern matched and was not collected, in words; empty when nothing."""
        many = len(self._out)
        which = f"{many} links lead" if many > 1 else "1 link leads"
        return f"{which} out of its folder and {'were' if many > 1 else 'was'} left out" if many else ""

    def _match(self, pattern: str) -> Iterator[str]:
        """Regular files below the working folder, relative to it; a folder stands for all that is in it."""
        try:
            parts(pattern)
        except BadPath as error:
            raise NoOutputs(str(error)) from error
        for match in sorted(glob.glob(pattern, root_dir=self.cwd, recursive=True, include_hidden=True)):
            whole = os.path.join(self.cwd, match)
            if os.path.isdir(whole) and not os.path.islink(whole):
                yield from (p for p in self._walk(match) if self._inside(p))
            elif self._inside(match):
                yield match

    def _walk(self, folder: str) -> Iterator[str]:
        for root, folders, names in os.walk(os.path.join(self.cwd, folder)):
            linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
            for name in sorted(names + linked):
                yield os.path.relpath(os.path.join(root, name), self.cwd)

    def _inside(self, path: str) -> bool:
        """Whether this is a regular file reached without a link that leads out of the working folder."""
        real = self._real(path)
        if real is None:
            self._out.add(self._link(path))
        return real is not None and os.path.isfile(real)

    def _real(self, path: str) -> str | None:
        """Where it leads to; None for a place outside of the working folder."""
        real, base = os.path.realpath(os.path.join(self.cwd, path)), os.path.realpath(self.cwd)
        return real if real == base or real.startswith(base + os.sep) else None

    def _link(self, path: str) -> str:
        """The first link on the way that leads out: all that is found behind it is left out with it."""
        names = Path(path).parts
        ways = (os.path.join(*names[:n]) for n in range(1, len(names) + 1))
        return next(way for way in ways if self._real(way) is None)

    def _put(self, path: str, store: FolderStore) -> FileRef:
        real = os.path.realpath(os.path.join(self.cwd, path))
        if not path.isascii() and path != os.fsencode(path).decode(errors="replace"):
            raise NoOutputs(f"the output {path!a} has a name that is not UTF-8")
        try:
            with open(os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o777
                digest = store.put_stream(file)
        except OSError as error:
            raise NoOutputs(f"the output {path} can't be stored: {error.strerror}") from error
        return FileRef(os.path.normpath(path), digest, store.size(digest), mode)

    def clear(self) -> None:
        empty(str(self.folder))
        try:
            self.folder.rmdir()
        except OSError:
            pass


def clear_all(folders: Sequence[Path]) -> None:
    """What an earlier life of the executor left in its folders."""
    for folder in folders:
        empty(str(folder))
