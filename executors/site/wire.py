"""Where the agent of a plain executor listens, and how one talks to it: calls over a private Unix socket."""

import hashlib
import os
import secrets
import threading
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from executors.errors import Lost


def sockets(run: str) -> Path:
    """The private folder of the sockets of one run."""
    folder = Path(run) / "x"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def address(run: str, executor: str) -> str:
    """Short: a Unix socket's path ends at 107 bytes."""
    return str(sockets(run) / f"{hashlib.sha256(executor.encode()).hexdigest()[:12]}.sock")


def key(run: str) -> bytes:
    """The secret that both ends know; made by whoever comes first, readable for its user alone."""
    file = sockets(run) / "key"
    draft = file.with_name(f".{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secrets.token_hex(32))
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return file.read_bytes()


class Wire:
    """One conversation, one call at a time. Raises Lost when the other end is gone."""

    def __init__(self, path: str, secret: bytes) -> None:
        self._lock = threading.Lock()
        try:
            self._connection: Connection = Client(path, "AF_UNIX", authkey=secret)
        except (OSError, EOFError) as error:
            raise Lost(f"nobody listens at {path}") from error

    def call(self, method: str, *args: Any) -> Any:
        try:
            with self._lock:
                self._connection.send((method, args))
                fine, answer = self._connection.recv()
        except (OSError, EOFError) as error:
            raise Lost("the executor is gone") from error
        if not fine:
            raise RuntimeError(f"{method} failed on the executor: {answer}")
        return answer

    def shut(self) -> None:
        """Close it; safe when nobody is inside a call."""
        self._connection.close()
