"""Files of this machine into the store of the farm, by content: only what it lacks is sent."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.client import Client
from farm.packs import SMALL, packed
from farm.refusal import Refusal

if TYPE_CHECKING:
    from farm.model import File

ASKED = 50_000  # digests in one question


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    size: int
    data: bytes | None = None  # kept where the file may be gone by the time it is sent


class Sending:
    """Collects files by their digests; `send` brings those into the store that it lacks."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sources: dict[str, _Source] = {}

    def add(self, path: Path, name: str) -> dict[str, Any]:
        """The File of a step; `path` stays until it is sent. Raises Refusal."""
        with _read(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            status = os.fstat(file.fileno())
        self._sources[digest] = _Source(path, status.st_size)
        return _file(name, digest, status)

    def __call__(self, path: Path) -> "File":
        """What the workloads plan with: takes the file as it is now, which may be a passing one. Raises Refusal."""
        from farm.model import File

        with _read(path) as file:
            status = os.fstat(file.fileno())
            data = file.read() if status.st_size <= SMALL else None
            digest = (hashlib.sha256(data) if data is not None else hashlib.file_digest(file, "sha256")).hexdigest()
        if data is not None:
            self._sources[digest] = _Source(path, status.st_size, data)
        elif self._client.missing([digest]):
            _upload(self._client, digest, _Source(path, status.st_size))
        return File(**_file(path.name[:200], digest, status))

    def send(self) -> None:
        """Raises Refusal; what had come by then stays there, and is not sent again."""
        digests = list(self._sources)
        parts = [digests[at : at + ASKED] for at in range(0, len(digests), ASKED)]
        wanted = {digest: self._sources[digest] for part in parts for digest in self._client.missing(part)}
        for pack in packed(_small(wanted)):
            self._client.upload_pack(pack)
        for digest, source in wanted.items():
            if source.size > SMALL:
                _upload(self._client, digest, source)


@contextmanager
def _read(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise Refusal(f"the file can't be read: {error.strerror}", str(path), "check path and permissions") from error


def _file(name: str, digest: str, status: os.stat_result) -> dict[str, Any]:
    mode = 0o755 if status.st_mode & 0o100 else 0o644
    return {"path": name, "digest": digest, "size": status.st_size, "mode": mode}


def _small(wanted: Mapping[str, _Source]) -> Iterator[tuple[str, bytes]]:
    for digest, source in wanted.items():
        if source.size <= SMALL:
            yield digest, source.data if source.data is not None else _contents(digest, source)


def _contents(digest: str, source: _Source) -> bytes:
    with _read(source.path) as file:
        data = file.read(SMALL + 1)
    if hashlib.sha256(data).hexdigest() != digest:
        raise Refusal("the file changed while it was sent", str(source.path), "submit again")
    return data


def _upload(client: Client, digest: str, source: _Source) -> None:
    with _read(source.path) as file:
        client.upload(digest, file, source.size)


def upload(client: Client, files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Bring files, given by the names they have in a task, into the store; the Files of a step. Raises Refusal."""
    sending = Sending(client)
    made = [sending.add(path, name) for name, path in files.items()]
    sending.send()
    return made
