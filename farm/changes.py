"""What git says: trees, contents and differences, read from objects and never from a work tree."""

import hashlib
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from executors.passed_on import passed_on
from farm.refusal import Refusal

SYMLINK, GITLINK = 0o120000, 0o160000
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PATIENCE_S = 120


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: POSIX path, git's mode, git's object id of the contents."""

    path: str
    mode: int
    blob: str


def is_object_id(text: str) -> bool:
    """40 (SHA-1) or 64 (SHA-256) hex digits."""
    return bool(_OBJECT.fullmatch(text))


def is_nothing(object_id: str) -> bool:
    """Git's id for "there was nothing" or "there is nothing any more"."""
    return not object_id.strip("0")


class Repository:
    """A git repository, bare or not. Every method raises Refusal with git's own words when git refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def commit(self, name: str) -> str:
        """Full id of the commit `name` stands for."""
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", or_else=b"")
        if not found:
            raise Refusal(f"no commit {name!r}", str(self.path), f"see `git -C {self.path} log --all`")
        return found.decode().strip()

    def has(self, object_id: str) -> bool:
        """Whether the commit is here: a forced push may have left it to the garbage collector."""
        try:
            return bool(self.commit(object_id))
        except Refusal:
            return False

    def entries(self, commit: str) -> tuple[Entry, ...]:
        """All files of a commit, by path. Raises Refusal for paths that could leave their folder."""
        listing = self._git("ls-tree", "-r", "-z", "--full-tree", commit)
        return tuple(_entry(line) for line in listing.split(b"\0") if line)

    def contents(self, blobs: Iterable[str]) -> Mapping[str, bytes]:
        """Contents by object id."""
        wanted = sorted(set(blobs))
        if not wanted:
            return {}
        answer = self._git("cat-file", "--batch", given="".join(f"{blob}\n" for blob in wanted).encode())
        return dict(_batch(answer))

    def changed(self, old: str, new: str) -> frozenset[str]:
        """Paths that differ between two commits; both ends of a rename."""
        listing = self._git("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
        return frozenset(os.fsdecode(name) for name in listing.split(b"\0") if name)

    def prefix(self) -> tuple[Path, str] | None:
        """(top of the checkout, this folder below it as "a/b/"), or None outside any checkout."""
        found = self._git("rev-parse", "--show-toplevel", "--show-prefix", or_else=b"")
        if not found:
            return None
        top, below, *_ = os.fsdecode(found).split("\n")
        return Path(top), below

    def hooks(self) -> tuple[Path, Path]:
        """(git's folder, the folder of its hooks), both resolved; core.hooksPath is respected."""
        found = self._git("rev-parse", "--absolute-git-dir", "--git-common-dir", "--git-path", "hooks")
        own, shared, hooks = (self.path / os.fsdecode(line) for line in found.splitlines())
        return (shared if shared.is_dir() else own).resolve(), hooks.resolve()

    def is_one(self) -> bool:
        """Whether git takes this very folder for a repository or a checkout."""
        return bool(self._git("rev-parse", "--git-dir", or_else=b""))

    def _git(self, *words: str, given: bytes = b"", or_else: bytes | None = None) -> bytes:
        try:
            done = subprocess.run(
                ["git", "--no-replace-objects", "-C", os.fspath(self.path), *words],
                input=given,
                capture_output=True,
                env=_environment(),
                timeout=_PATIENCE_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise Refusal("git is not installed", remedy="install it: apt install git") from error
        except subprocess.TimeoutExpired as error:
            raise Refusal(f"git {words[0]} took more than {_PATIENCE_S} s", str(self.path)) from error
        if done.returncode == 0:
            return done.stdout
        if or_else is not None:
            return or_else
        raise Refusal(f"git {words[0]} failed: {os.fsdecode(done.stderr).strip()}", str(self.path))


def _environment() -> dict[str, str]:
    """Without git's own variables, which inside a hook point at another repository or into quarantine, and without what
    is none of git's business: a repository's settings may name programs that it runs."""
    return passed_on("XDG_CONFIG_HOME") | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
    }


def _entry(line: bytes) -> Entry:
    about, _, name = line.partition(b"\t")
    mode, _, blob = about.split(b" ")
    return Entry(safe_path(name), int(mode, 8), blob.decode())


def safe_path(name: bytes) -> str:
    """The path as text. Raises Refusal when it could leave its folder or has no text form."""
    try:
        path = name.decode()
    except UnicodeDecodeError as error:
        raise Refusal(f"the path {os.fsdecode(name)!r} is not UTF-8", remedy="rename the file") from error
    parts = path.split("/")
    if "\\" in path or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        raise Refusal(f"the path {path!r} could leave its folder", remedy="remove it from the tree")
    return path


def _batch(answer: bytes) -> Iterator[tuple[str, bytes]]:
    """`ID SP TYPE SP SIZE LF CONTENTS LF` repeated, or `ID SP missing LF` (git-cat-file(1), batch output)."""
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        words = answer[at:end].decode().split(" ")
        if len(words) != 3:
            raise Refusal(f"the object {words[0]} is missing", remedy="run `git fsck` in the repository")
        size = int(words[2])
        yield words[0], answer[end + 1 : end + 1 + size]
        at = end + size + 2


def content_hash(entries: Iterable[Entry], below: str = "") -> str:
    """sha256 over paths (relative to the folder `below`, "" or "a/b/"), modes and contents, in any order."""
    rows = sorted((e.path.removeprefix(below), e.mode, e.blob) for e in entries if e.path.startswith(below))
    total = hashlib.sha256()
    for path, mode, blob in rows:
        total.update(f"{mode:o} {blob} {path}\0".encode())
    return total.hexdigest()


def touched(paths: Iterable[str], folders: Collection[str]) -> frozenset[str]:
    """Which of `folders` ("" or "a/b/") the paths belong to; the longest match has it."""
    longest = sorted(folders, key=len, reverse=True)
    found = (next((folder for folder in longest if path.startswith(folder)), None) for path in paths)
    return frozenset(folder for folder in found if folder is not None)
