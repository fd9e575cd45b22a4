"""Between an executor and its farm, on this host: a TCP port that leads to a socket of the farm, and can be closed."""

import socket
import threading
from pathlib import Path

PIECE = 1 << 16


class Strait:
    """`close` holds every byte back, as a dead path does; `open` lets them go on; `snap` ends every connection."""

    def __init__(self, to: Path | int) -> None:
        """`to` is a Unix socket, or a port of this host."""
        self._to = to
        self._passable = threading.Event()
        self._passable.set()
        self._ends: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._passable.clear()

    def open(self) -> None:
        self._passable.set()

    def snap(self) -> None:
        for end in list(self._ends):
            self._drop(end)

    def end(self) -> None:
        self._drop(self._server)
        self.snap()
        self.open()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_INET if isinstance(self._to, int) else socket.AF_UNIX)
        self._ends |= {near, far}
        self._passable.wait()
        try:
            far.connect(("127.0.0.1", self._to) if isinstance(self._to, int) else str(self._to))
        except OSError:
            self._drop(near)
            self._drop(far)
            return
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(PIECE):
                self._passable.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._drop(source)
        self._drop(sink)

    def _drop(self, end: socket.socket) -> None:
        self._ends.discard(end)
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()
