"""A wire between a client and a farm that can be cut, mended, and made to lose answers."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

Target = Callable[[], socket.socket]


def socket_of(path: Path) -> Target:
    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(path))
        except OSError:
            made.close()
            raise
        return made

    return connect


class Proxy:
    """Listens on a loopback port, with TLS where there is a context, and carries bytes to and fro."""

    def __init__(self, target: Target, context: ssl.SSLContext | None = None) -> None:
        self._target, self._context = target, context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._whole, self._lost, self._upload = True, 0, -1
        self.connections = self.refused = 0
        self._heads: list[bytes] = []
        self.happened = threading.Event()  # what was to go wrong did
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://localhost:{self.port}"

    def asked(self, words: bytes) -> int:
        """How many requests have these words in their first line."""
        return sum(words in head.partition(b"\r\n")[0] for head in self._heads)

    def cut(self) -> None:
        """Everything that is open ends now; what comes is hung up on."""
        with self._lock:
            self._whole = False
            for one in self._open:
                _end(one)

    def mend(self) -> None:
        self._whole = True

    def lose_answers(self, count: int) -> None:
        """The next answers come as far as here."""
        self.happened.clear()
        self._lost = count

    def cut_upload(self, after: int) -> None:
        """Hang up once so many bytes of one connection have gone to the farm."""
        self.happened.clear()
        self._upload = after

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(60)
        self._listening.close()

    def _start(self, act: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=act, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                self._start(self._carry, taken)

    def _carry(self, taken: socket.socket) -> None:
        self.connections += 1
        with contextlib.suppress(OSError), taken:
            if not self._whole:
                self.refused += 1
                return
            near = self._context.wrap_socket(taken, server_side=True) if self._context else taken
            with near, self._target() as far:
                with self._lock:
                    if not self._whole:
                        return
                    self._open |= {near, far}
                try:
                    back = threading.Thread(target=self._back, args=(far, near), daemon=True)
                    back.start()
                    self._forth(near, far)
                    _end(far)
                    back.join(60)
                finally:
                    with self._lock:
                        self._open -= {near, far}

    def _forth(self, near: socket.socket, far: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                self._heads.append(data[:200])
                far.sendall(data)
                carried += len(data)
                if 0 <= self._upload < carried:
                    self._upload = -1
                    self.happened.set()
                    return

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                if self._lost:
                    self._lost -= 1
                    self.happened.set()
                    break
                near.sendall(data)
        _end(near)
        _end(far)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
