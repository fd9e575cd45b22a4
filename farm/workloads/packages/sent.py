"""A tree that comes from another machine: its files by content, and one file of JSON that describes it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import Requirement

from farm.changes import GITLINK, SYMLINK, Entry, is_object_id, safe_path
from farm.refusal import Refusal
from farm.workloads.packages.ask import Answer
from farm.workloads.packages.source import MOST

LARGEST = 128 << 20  # bytes of a description
_MODES = (0o100644, 0o100755, 0o100664, SYMLINK, GITLINK)
_AGAIN = "send the tree again"


@dataclass(frozen=True, slots=True)
class SentFile:
    """`digest` of the store; a submodule has none."""

    entry: Entry
    digest: str

    def row(self) -> list[Any]:
        return [self.entry.path, self.entry.mode, self.entry.blob, self.digest]


@dataclass(frozen=True, slots=True)
class Description:
    """`commit` is "" for a plain folder; `changed`: the paths that count, None for all. `asked`: what the backends ask
    for, by package: they are code of the tree, and were run where it comes from, never where it is planned."""

    title: str
    commit: str
    files: tuple[SentFile, ...]
    changed: frozenset[str] | None = None
    asked: Mapping[str, Answer] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        changed = None if self.changed is None else sorted(self.changed)
        rows = [file.row() for file in self.files]
        asked = {name: [list(answer.requires), answer.unknown] for name, answer in self.asked.items()}
        told = {"title": self.title, "commit": self.commit, "files": rows, "changed": changed, "asked": asked}
        return json.dumps(told).encode()


def read_description(data: bytes) -> Description:
    """Raises Refusal for what is none, and for paths that could leave their folder."""
    try:
        told = json.loads(data)
        changed = None if told["changed"] is None else frozenset(map(_text, told["changed"]))
        files = tuple(_file(*row) for row in told["files"])
        asked = {_text(name): _answer(*given) for name, given in told.get("asked", {}).items()}
        made = Description(_text(told["title"])[:200], _text(told["commit"]), files, changed, asked)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal("the description of the tree is damaged", "tree", _AGAIN) from error
    if len(files) > MOST or len({file.entry.path for file in files}) != len(files):
        raise Refusal(f"the tree has more than {MOST:,} files, or one of them twice", "tree", "send packages only")
    return made


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _answer(requires: Any, unknown: Any) -> Answer:
    return Answer(tuple(str(Requirement(_text(line))) for line in requires), _text(unknown)[:500])


def _file(path: Any, mode: Any, blob: Any, digest: Any) -> SentFile:
    entry = Entry(safe_path(_text(path).encode()), mode, _text(blob))
    is_digest = len(_text(digest)) == 64 and not set(digest) - set("0123456789abcdef")
    if mode not in _MODES or not is_object_id(entry.blob) or not (is_digest or (mode == GITLINK and not digest)):
        raise ValueError
    return SentFile(entry, digest)


class SentTree:
    """What was described; contents are read from the store, and must be what git's ids say."""

    def __init__(self, told: Description, read: Callable[[str], bytes]) -> None:
        self.title, self._read = told.title, read
        self._entries = tuple(file.entry for file in told.files)
        self._digests = {file.entry.path: file.digest for file in told.files}

    def entries(self) -> Sequence[Entry]:
        return self._entries

    def contents(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        return {entry.path: self._contents(entry) for entry in entries}

    def _contents(self, entry: Entry) -> bytes:
        data = self._read(self._digests[entry.path])
        if blob_id(data, entry.blob) != entry.blob:
            raise Refusal(f"{entry.path} is not what the description of the tree says", "tree", _AGAIN)
        return data


def blob_id(data: bytes, like: str) -> str:
    """Git's id of these contents, in SHA-1 or SHA-256 as that other one."""
    head = b"blob %d\0" % len(data)
    if len(like) == 64:
        return hashlib.sha256(head + data).hexdigest()
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()
