"""Where the agent of a plain executor listens, and how one talks to it: calls over a private Unix socket."""

import hashlib
import os
import secrets
import socket
import struct
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from executors.errors import Lost

ANSWER_S = 8.0  # an executor that is mute for longer is replaced


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
    """One conversation, one call at a time. Raises Lost when the other end is gone, or mute."""

    def __init__(self, path: str, secret: bytes) -> None:
        self._lock = threading.Lock()
        self._connection = Connection(_connected(path))
        try:
            answer_challenge(self._connection, secret)
            deliver_challenge(self._connection, secret)
        except (OSError, EOFError, AuthenticationError) as error:
            self._connection.close()
            raise Lost(f"nobody answers at {path}") from error

    def call(self, method: str, *args: Any, within_s: float = ANSWER_S) -> Any:
        try:
            with self._lock:
                fine, answer = self._ask((method, args), within_s)
        except (OSError, EOFError) as error:
            raise Lost("the executor is gone") from error
        if not fine:
            raise RuntimeError(f"{method} failed on the executor: {answer}")
        return answer

    def _ask(self, question: object, within_s: float) -> Any:
        """An answer that comes too late would be taken for the next question's: who is mute is not asked again."""
        self._connection.send(question)
        if not self._connection.poll(within_s):
            self._connection.close()
            raise TimeoutError(f"no answer within {within_s:g} s")
        return self._connection.recv()

    def shut(self) -> None:
        """Close it; safe when nobody is inside a call."""
        self._connection.close()


def _connected(path: str) -> int:
    """A socket on which nothing blocks longer than an answer may take: a frozen process still has a listening one."""
    with socket.socket(socket.AF_UNIX) as made:
        whole = int(ANSWER_S)
        for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            made.setsockopt(socket.SOL_SOCKET, way, struct.pack("@ll", whole, int((ANSWER_S - whole) * 1e6)))
        try:
            made.connect(path)
        except OSError as error:
            raise Lost(f"nobody listens at {path}") from error
        return made.detach()
