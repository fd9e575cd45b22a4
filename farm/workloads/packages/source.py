"""Where sources come from: a commit of a git repository, or a plain folder."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from farm.changes import SYMLINK, Entry, Repository, is_nothing, safe_path
from farm.refusal import Refusal

_PASSED_OVER = frozenset({".git", ".hg", ".svn", "__pycache__", ".venv", ".tox", ".nox"})
MOST = 200_000  # files and folders of a plain folder: nobody's packages hold more, a whole disk does


class Tree(Protocol):
    """Files that do not change while they are looked at."""

    title: str

    def entries(self) -> Sequence[Entry]: ...

    def contents(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        """Contents by path."""
        ...


class GitTree:
    """A commit, or what lies below `prefix` ("" or "a/b/") in it."""

    def __init__(self, repository: Repository, commit: str, prefix: str = "") -> None:
        self._repository, self.commit, self._prefix = repository, commit, prefix
        name = repository.path.name.removesuffix(".git") or repository.path.parent.name
        self.title = f"{name} {commit[:8]}"
        self._entries = tuple(_below(repository.entries(commit), prefix))

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def contents(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        wanted = tuple(entries)
        found = self._repository.contents(e.blob for e in wanted)
        return {e.path: found[e.blob] for e in wanted}


class FolderTree:
    """A plain folder as it is now; ids are git's own, so that the same files hash alike from either source."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.title = folder, folder.name or str(folder)
        self._entries = tuple(_walk(folder))

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def contents(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        return {e.path: _contents(self._folder / e.path) for e in entries}


def open_tree(path: Path) -> GitTree | FolderTree:
    """HEAD when `path` is a bare repository or lies in a checkout that has files there, else the folder itself."""
    if not os.path.isdir(path):  # Path.is_dir fails for names that are too long
        raise Refusal(f"{str(path)[:200]} is no folder", remedy="name a folder with packages, or a git checkout")
    repository = Repository(path)
    place = repository.prefix()
    if place or repository.is_one():
        top, below = place or (path, "")
        tree = GitTree(Repository(top), repository.commit("HEAD"), below)
        if tree.entries() or not place:
            return tree
    return FolderTree(path)


def changed_paths(repository: Repository, old: str, new: str, below: str) -> frozenset[str] | None:
    """Paths below the folder `below` that differ; None (all of them) when there is no commit to compare with."""
    if is_nothing(old):
        return None
    changed = repository.changed(repository.commit(old), new)
    return frozenset(path[len(below) :] for path in changed if path.startswith(below))


def _below(entries: Iterable[Entry], prefix: str) -> Iterable[Entry]:
    for entry in entries:
        if entry.path.startswith(prefix):
            yield Entry(entry.path[len(prefix) :], entry.mode, entry.blob)


def _walk(folder: Path) -> Iterable[Entry]:
    for path in list(_paths(folder)):  # nothing is read of a tree that is too large
        yield _look(path, safe_path(os.fsencode(path.relative_to(folder).as_posix())))


def _paths(folder: Path) -> Iterable[Path]:
    seen = 0
    for base, folders, files in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(base, name))]
        folders[:] = sorted(set(folders) - _PASSED_OVER - set(linked))
        seen += len(folders) + len(files) + len(linked)
        if seen > MOST:
            what = f"{folder} holds more than {MOST:,} files and folders"
            raise Refusal(what, remedy="name a folder of packages, or a git repository")
        yield from (Path(base, name) for name in sorted([*files, *linked]))


def _look(path: Path, name: str) -> Entry:
    found = path.lstat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise Refusal(f"{path} is neither a file nor a link", remedy="remove it from the tree")
    mode = SYMLINK if stat.S_ISLNK(found.st_mode) else 0o100755 if found.st_mode & 0o100 else 0o100644
    data = _contents(path)
    return Entry(name, mode, hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest())


def _contents(path: Path) -> bytes:
    return os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
