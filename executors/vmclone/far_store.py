"""The store as a guest has it: files it lacks come over the line, those it makes go there before they are spoken of."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO

from executors.contract import FileRef
from executors.store import Damaged, FolderStore, Missing
from executors.vmclone.peer import Failed, Gone, Peer, Serve, plainly

PIECE = 512 << 10  # bytes; between two pieces others have their turn on the line
PIECE_S = 60.0


class FarStore(FolderStore):
    """`peer` tells the line: there is none yet while the template is made."""

    def __init__(self, root: str | os.PathLike[str], peer: Callable[[], Peer]) -> None:
        super().__init__(root)
        self._peer = peer

    def place(self, ref: FileRef, folder: str | os.PathLike[str], /) -> None:
        if not self.has(ref.digest):
            self._fetch(ref.digest)
        super().place(ref, folder)

    def put_stream(self, file: BinaryIO, /) -> str:
        digest = super().put_stream(file)
        self._push(digest)
        return digest

    def _fetch(self, digest: str) -> None:
        """Raises Missing, Damaged, OSError."""
        coming = self.incoming()
        try:
            size = self._call("size", digest)[0]
            for offset in range(0, size, PIECE):
                coming.write(self._call("fetch", digest, offset, PIECE)[1])
            if coming.digest != digest:
                raise Damaged(f"the farm's stored file {digest} is damaged; put it in again")
            self.take(coming)
        finally:
            coming.drop()

    def _push(self, digest: str) -> None:
        number = self._call("coming")[0]
        with self.open(digest) as file:
            while piece := file.read(PIECE):
                self._call("piece", number, data=piece)
        self._call("arrived", number, digest)

    def _call(self, method: str, *args: Any, data: bytes = b"") -> tuple[Any, bytes]:
        try:
            return self._peer().call(method, *args, data=data, within_s=PIECE_S)
        except Failed as error:
            if str(error).startswith("Missing: "):
                raise Missing(str(error).removeprefix("Missing: ")) from error
            raise OSError(5, f"the farm's store: {error}") from error
        except Gone as error:
            raise OSError(5, f"the farm's store is away: {error}") from error


class Counter:
    """The host's side of it: hands out what is asked for, takes in what comes. Nothing said by a guest is believed."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self._coming: dict[int, Any] = {}
        self._given = 0
        self.known: set[str] = set()  # what this guest has been given or has brought

    def methods(self) -> dict[str, Serve]:
        return {
            "size": plainly(self._store.size),
            "fetch": lambda args, _: (None, self._piece(*args)),
            "coming": plainly(self._open),
            "piece": self._more,
            "arrived": plainly(self._close),
        }

    def _piece(self, digest: str, offset: int, size: int) -> bytes:
        with self._store.open(digest) as file:
            self.known.add(digest)
            file.seek(max(0, offset))
            return file.read(max(0, min(size, PIECE)))

    def _open(self) -> int:
        if len(self._coming) >= 64:
            raise ValueError("too many files at once")
        self._given += 1
        self._coming[self._given] = self._store.incoming()
        return self._given

    def _more(self, args: list[Any], data: bytes) -> tuple[Any, bytes]:
        self._coming[args[0]].write(data)
        return None, b""

    def _close(self, number: int, digest: str) -> None:
        coming = self._coming.pop(number)
        try:
            if coming.digest != digest:
                raise ValueError("its bytes are others than announced")
            self.known.add(self._store.take(coming))
        finally:
            coming.drop()

    def drop(self) -> None:
        """Forget what was never completed."""
        for coming in self._coming.values():
            coming.drop()
