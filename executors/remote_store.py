"""The farm's store as an executor elsewhere has it: a bounded folder here, and the truth over HTTPS."""

import contextlib
import errno
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from executors.contract import FileRef
from executors.reach import Reach
from executors.store import CHUNK, Damaged, FolderStore, Missing

ANSWER_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
CACHE_BYTES = 10 << 30
SHARE = 0.2  # of what is free on its disk, at most
FRESH_S = 60.0  # what was used within this time is not let go


class Unsaid(Exception):
    """The farm did not answer; asking again may help."""


class RemoteStore(FolderStore):
    """Inputs come once and stay while there is room; outputs are on the farm's disk when `put…` returns.

    A farm that is away is waited for: what an executor has made must not be lost, and its lease ends it at last.
    """

    def __init__(
        self, root: str | os.PathLike[str], reach: Reach, most: int = CACHE_BYTES, private: Sequence[str] = ()
    ) -> None:
        super().__init__(root)
        self.private = private
        self._reach, self._most = reach, most
        self._local = threading.local()
        self._pause = threading.Event()
        self._sweeping = threading.Lock()
        self._unsent: set[str] = set()

    @classmethod
    def described(cls, file: str) -> "RemoteStore":
        """By a file that names its folder here, and the file that says how the farm is reached."""
        said = json.loads(Path(file).read_text())
        return cls(said["cache"], Reach.read(said["reach"]), private=said["private"])

    def place(self, ref: FileRef, folder: str | os.PathLike[str], /) -> None:
        self._need(ref.digest)
        try:
            super().place(ref, folder)
        except Damaged:  # on our disk; the farm has it whole
            self.path(ref.digest).unlink(missing_ok=True)
            self._need(ref.digest)
            super().place(ref, folder)

    def open(self, digest: str, /) -> BinaryIO:
        self._need(digest)
        return super().open(digest)

    def put_bytes(self, data: bytes, /) -> str:
        return self._sent(super().put_bytes(data))

    def put_file(self, path: str | os.PathLike[str], /) -> str:
        return self._sent(super().put_file(path))

    def put_stream(self, file: BinaryIO, /) -> str:
        return self._sent(super().put_stream(file))

    # ── the farm's end ───────────────────────────────────────────────────────────────────────────

    def _need(self, digest: str) -> None:
        """Have it here. Raises Missing, Damaged, OSError."""
        with contextlib.suppress(OSError):
            os.utime(self.path(digest))  # used lately: it stays
        if not self.has(digest):
            self._patiently(lambda: self._fetch(digest))
            self._bound()

    def _fetch(self, digest: str) -> None:
        coming = self.incoming()
        try:
            with self._call("GET", digest) as answer:
                while piece := self._read(answer):
                    coming.write(piece)
            if coming.digest != digest:
                raise Damaged(f"the farm's stored file {digest} is damaged; put it in again")
            self.take(coming)
        finally:
            coming.drop()

    def _sent(self, digest: str) -> str:
        self._unsent.add(digest)
        self._patiently(lambda: self._send(digest))
        self._unsent.discard(digest)
        self._bound()
        return digest

    def _send(self, digest: str) -> None:
        with contextlib.suppress(Missing), self._call("HEAD", digest):
            return
        with super().open(digest) as file, self._call("PUT", digest, file):
            return

    def bear_with(self, still: Callable[[], bool]) -> None:
        self._local.still = still

    def _patiently(self, act: Callable[[], None]) -> None:
        """Until the farm has answered. Raises OSError when nobody wants to wait any longer."""
        pause, still = FIRST_PAUSE_S, getattr(self._local, "still", lambda: True)
        while True:
            try:
                return act()
            except Unsaid as error:
                if not still():
                    raise OSError(errno.EINTR, f"the farm's store was not heard of in time: {error}") from error
                self._pause.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    @contextlib.contextmanager
    def _call(self, method: str, digest: str, body: BinaryIO | None = None) -> Iterator[http.client.HTTPResponse]:
        """Raises Missing, Unsaid, OSError."""
        connection = self._connection()
        answer = self._ask(connection, method, digest, body)
        try:
            yield answer
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        finally:
            if not answer.isclosed():
                connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, digest: str, body: BinaryIO | None
    ) -> http.client.HTTPResponse:
        headers = self._reach.headers()
        if body is not None:
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        try:
            connection.request(method, f"{self._reach.prefix}/v1/store/{digest}", body, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unsaid(str(error)) from error
        if answer.status < 300:
            return answer
        said = answer.read()[:300].decode(errors="replace")
        if answer.status == 404:
            raise Missing(f"the farm's store has no file {digest}")
        if answer.status in (400, 403, 413):
            raise OSError(errno.EIO, f"the farm's store says {answer.status}: {said}", digest)
        raise Unsaid(f"{answer.status} {said}")

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Unsaid(str(error)) from error

    def _connection(self) -> http.client.HTTPConnection:
        """One per thread, kept open."""
        if not hasattr(self._local, "connection"):
            self._local.connection = self._reach.connection(ANSWER_S)
        made: http.client.HTTPConnection = self._local.connection
        return made

    # ── room ─────────────────────────────────────────────────────────────────────────────────────

    def _bound(self) -> None:
        """Let go of what has not been used for longest, when it is more than the cache may hold."""
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            files = sorted(self._held(), key=lambda f: f[0])
            over = sum(size for _, size, _ in files) - self._room()
            for _, size, path in files[:-1]:
                if over <= 0:
                    break
                path.unlink(missing_ok=True)
                over -= size
        finally:
            self._sweeping.release()

    def _held(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(OSError):
                told = path.stat()
                fresh = abs(time.time() - told.st_mtime) < FRESH_S
                if not fresh and path.parent.name + path.name not in self._unsent:
                    yield told.st_mtime, told.st_size, path

    def _room(self) -> int:
        told = os.statvfs(self.root)
        return min(self._most, int(SHARE * told.f_bavail * told.f_frsize))
