"""A tree of sources to a farm elsewhere, by content: what the farm has is not sent again."""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from farm.changes import GITLINK, Entry, Repository
from farm.client import Client
from farm.packs import SMALL, packed
from farm.workloads.packages.graph import asked
from farm.workloads.packages.package import read_packages
from farm.workloads.packages.sent import Description, SentFile
from farm.workloads.packages.source import FolderTree, GitTree, Tree, changed_paths, open_tree

READ = 400  # files that are read at once
ASKED = 50_000  # digests in one question
T = TypeVar("T")


def send_folder(client: Client, path: Path, old: str, new: str) -> tuple[str, str]:
    """A tree, or with `old` and `new` a commit of it and what differs; the digest of its description, and a note.

    Raises Refusal.
    """
    if not (old or new):
        tree = open_tree(path)
        commit = "" if isinstance(tree, FolderTree) else tree.commit
        note = f"commit {commit[:8]}, not the edits since" if commit else "the folder as it is now"
        return send_tree(client, tree, tree.title, commit), f"built from {note}"
    top, below = Repository(path).prefix() or (path, "")
    source = Repository(top)
    tree = GitTree(source, source.commit(new), below)
    changed = changed_paths(source, old, tree.commit, below)
    return send_tree(client, tree, f"{new} of {tree.title}", tree.commit, changed), ""


def send_tree(
    client: Client, tree: Tree, title: str, commit: str, changed: frozenset[str] | None = None, ask: bool = True
) -> str:
    """Brings its files and its description into the store; the digest of that. Raises Refusal.

    With `ask` the build backends of the tree say what they need: its code is run here, as this user.
    """
    answers = asked(tree, read_packages(tree), _cache()) if ask else {}
    files = [file for part in _parts(tree.entries(), READ) for file in _files(tree, part)]
    lacking = set(_lacking(client, sorted({file.digest for file in files if file.digest})))
    wanted = {file.digest: file.entry for file in files if file.digest in lacking}
    large: dict[str, Entry] = {}
    for pack in packed(_small(tree, wanted, large)):
        client.upload_pack(pack)
    for digest, entry in large.items():
        data = tree.contents([entry])[entry.path]
        client.upload(digest, io.BytesIO(data), len(data))
    return _describe(client, Description(title, commit, tuple(files), changed, answers))


def _cache() -> Path:
    """Where answers of build backends are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base, "farm")


def _files(tree: Tree, entries: Sequence[Entry]) -> Iterator[SentFile]:
    contents = tree.contents([entry for entry in entries if entry.mode != GITLINK])
    for entry in entries:
        data = contents.get(entry.path)
        yield SentFile(entry, "" if data is None else hashlib.sha256(data).hexdigest())


def _lacking(client: Client, digests: Sequence[str]) -> Iterator[str]:
    for part in _parts(digests, ASKED):
        yield from client.missing(part)


def _small(tree: Tree, wanted: Mapping[str, Entry], large: dict[str, Entry]) -> Iterator[tuple[str, bytes]]:
    """Those that are packed; the others are put into `large`."""
    for part in _parts(list(wanted.items()), READ):
        contents = tree.contents([entry for _, entry in part])
        for digest, entry in part:
            if len(contents[entry.path]) <= SMALL:
                yield digest, contents[entry.path]
            else:
                large[digest] = entry


def _describe(client: Client, told: Description) -> str:
    data = told.as_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if client.missing([digest]):
        client.upload(digest, io.BytesIO(data), len(data))
    return digest


def _parts(all_of_them: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(all_of_them)
    while part := list(islice(rest, size)):
        yield part
