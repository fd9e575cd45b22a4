"""HTTP/1.1 over any socket, as much of it as the farm's own API speaks.

`http.client` imports `email` and `ssl`: a fifth of the time of every command.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

CHUNK = 1 << 20
LONGEST_LINE = 64 << 10
CONNECT_S = 15.0
Dial = Callable[[float], socket.socket]
"""Makes a connection whose every read and write ends after so many seconds. Raises OSError."""
_CUT = ("SSLEOFError", "SSLZeroReturnError")  # by name, because ssl is imported only by who uses it


class Gone(ConnectionError):
    """The other side hung up: before its answer, or in the middle of it."""


class Garbled(ConnectionError):
    """What came is no HTTP."""


def was_cut(error: OSError) -> bool:
    """Whether the other side hung up, as the network or TLS tells it."""
    return isinstance(error, Gone | ConnectionResetError | BrokenPipeError) or type(error).__name__ in _CUT


def unix(path: Path) -> Dial:
    """To the socket at this path."""

    def dial(timeout: float) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(timeout)
            made.connect(str(path))
        except BaseException:
            made.close()
            raise
        return made

    return dial


def tcp(host: str, port: int) -> Dial:
    """To a port, unencrypted."""

    def dial(timeout: float) -> socket.socket:
        made = socket.create_connection((host, port), min(timeout, CONNECT_S))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and file are sent apart
        made.settimeout(timeout)
        return made

    return dial


class Reads(Protocol):
    """What bytes can be read from, like a file."""

    def read(self, size: int = -1, /) -> bytes: ...


class Body:
    """The body of an answer; must be read before the next request, else that one needs a new connection."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._kept = chunks, b""
        self.ended = False

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, or all. Raises OSError, Gone among them."""
        parts, left = [self._kept], (size if size >= 0 else float("inf")) - len(self._kept)
        while left > 0 and not self.ended:
            chunk = next(self._chunks, b"")
            self.ended = not chunk
            parts.append(chunk)
            left -= len(chunk)
        data = b"".join(parts)
        cut = size if size >= 0 else len(data)
        self._kept = data[cut:]
        return data[:cut]


class Connection:
    """One connection, kept open between requests. Every method raises OSError."""

    def __init__(self, dial: Dial, timeout: float, host: str = "farm") -> None:
        self._dial, self._timeout, self._host = dial, timeout, host
        self._socket: socket.socket | None = None
        self._file: IO[bytes] | None = None
        self._body: Body | None = None
        self._last = False  # the other side closes after this answer

    def open(self) -> None:
        self.close()
        self._socket = self._dial(self._timeout)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        for one in (self._file, self._socket):
            if one is not None:
                one.close()
        self._socket = self._file = self._body = None
        self._last = False

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None
    ) -> tuple[int, dict[str, str], Body]:
        """Status, headers (names in lower case) and body of the answer. A body that is a file needs Content-Length."""
        if self._socket is None or self._last or not (self._body is None or self._body.ended):
            self.open()
        try:
            self._send(method, target, headers, body)
        except OSError as error:
            if not was_cut(error):  # it may have answered before it hung up: that its disk is full, for example
                raise
        return self._answer(method)

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None) -> None:
        assert self._socket is not None
        told = {"Host": self._host, **headers}
        if isinstance(body, bytes):
            told["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        if body is None or isinstance(body, bytes):
            self._socket.sendall(head + (body or b""))
            return
        self._socket.sendall(head)
        while chunk := body.read(CHUNK):
            self._socket.sendall(chunk)

    def _answer(self, method: str) -> tuple[int, dict[str, str], Body]:
        version, _, rest = self._line().partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not code.isdecimal():
            raise Garbled(f"an answer that is no HTTP: {version[:80]!r}")
        headers = dict(self._headers())
        bare = method == "HEAD" or code in ("204", "304")
        self._body = Body(iter(()) if bare else self._chunks(headers))
        self._body.ended = bare
        self._last = self._last or version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        return int(code), headers, self._body

    def _headers(self) -> Iterator[tuple[str, str]]:
        while line := self._line():
            name, _, value = line.partition(":")
            yield name.strip().lower(), value.strip()

    def _chunks(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        if (length := headers.get("content-length", "")).isdecimal():
            return self._exactly(int(length))
        self._last = True
        return iter(lambda: self._some(CHUNK), b"")

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left:
            data = self._some(min(left, CHUNK))
            if not data:
                raise Gone("it hung up in the middle of an answer")
            left -= len(data)
            yield data

    def _chunked(self) -> Iterator[bytes]:
        while size := self._size():
            yield from self._exactly(size)
            self._line()
        while self._line():  # trailers
            pass

    def _size(self) -> int:
        line = self._line().partition(";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as error:
            raise Garbled(f"a chunk without its size: {line[:80]!r}") from error

    def _some(self, size: int) -> bytes:
        if self._file is None:
            raise Gone("the connection was closed in the middle of an answer")
        return self._file.read(size)

    def _line(self) -> str:
        """The next line without its end. Raises Gone where there is none."""
        if self._file is None:
            raise Gone("the connection was closed in the middle of an answer")
        line = self._file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise Gone("it hung up")
        return line.decode("latin-1").rstrip("\r\n")
