"""The line between a farm and its PostgreSQL: a port of this machine that passes all on, until it is told not to."""

import contextlib
import socket
import struct
import threading
from pathlib import Path

CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what was not sent is thrown away, and the other side is told so


class Line:
    """From 127.0.0.1:`port` to the server's socket. Every method may be called from any thread."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._flows, self._open = threading.Event(), threading.Event()
        self._flows.set()
        self._open.set()
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._swallow = 0
        threading.Thread(target=self._accept, name="line", daemon=True).start()

    # ── what can happen to it ──

    def cut(self) -> None:
        """All connections there are."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def refuse(self) -> None:
        """Nobody gets through any more, and who was through is cut off, until `heal`."""
        self._open.clear()
        self.cut()

    def hold(self) -> None:
        """Nothing arrives, and nobody is told, until `heal`."""
        self._flows.clear()

    def swallow(self, commits: int) -> None:
        """Of so many commits the answer never arrives: they count, and who asked for them is cut off."""
        with self._lock:
            self._swallow = commits

    def heal(self) -> int:
        """All is well again. Commits that were to be swallowed, and did not come."""
        with self._lock:
            left, self._swallow = self._swallow, 0
        self._open.set()
        self._flows.set()
        return left

    def close(self) -> None:
        self._listening.close()
        self.cut()
        self.heal()

    # ── how it works ──

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                self._through(client)

    def _through(self, client: socket.socket) -> None:
        if not self._open.is_set():
            _reset(client)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._to))
        except OSError:
            _reset(client)
            server.close()
            return
        pair = client, server
        with self._lock:
            self._pairs.add(pair)
        doomed = threading.Event()  # the next answer is the one that is swallowed
        for one, other in (pair, pair[::-1]):
            threading.Thread(target=self._pump, args=(pair, one, other, doomed), daemon=True).start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        to: socket.socket,
        doomed: threading.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._flows.wait()
                if source is pair[0] and b"COMMIT" in data and self._take():
                    doomed.set()
                elif source is pair[1] and doomed.is_set():
                    break
                to.sendall(data)
        self._end(pair)

    def _take(self) -> bool:
        with self._lock:
            if not self._swallow:
                return False
            self._swallow -= 1
            return True

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            known = pair in self._pairs
            self._pairs.discard(pair)
        if known:
            for one in pair:
                _reset(one)


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        if one.family == socket.AF_INET:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.shutdown(socket.SHUT_RDWR)
    one.close()
