"""How an executor elsewhere reaches its farm: one HTTPS connection out, to a farm that proves who it is."""

import http.client
import json
import os
import socket
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from executors.site.note import write_note

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LONGEST_RETRY_S = 60.0  # whatever it says
MUTE_S = 15  # a connection on which nothing is confirmed for so long is dead


class BadAddress(ValueError):
    """Nothing is sent there; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Reach:
    """`ca` and `token` are files, read anew for each connection and call; `ca` is "" where everybody is trusted whom
    this machine trusts. Names are looked up anew for each connection."""

    url: str
    ca: str
    token: str

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> "Reach":
        return cls(**json.loads(Path(file).read_text()))

    def write(self, file: str | os.PathLike[str]) -> None:
        Path(file).write_text(json.dumps(asdict(self)))

    @property
    def prefix(self) -> str:
        """What stands before every path."""
        return urlsplit(self.url).path.rstrip("/")

    def headers(self) -> dict[str, str]:
        """Raises OSError."""
        return {"Authorization": f"Bearer {Path(self.token).read_text().strip()}"}

    def connection(self, timeout_s: float, trust: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """Connects when it is used, and again after it was closed. `trust` instead of the file. Raises BadAddress."""
        split = urlsplit(self.url)
        if split.scheme == "https" and split.hostname:
            return _Secure(split.hostname, split.port or 443, self.ca, timeout_s, trust)
        if split.scheme == "http" and split.hostname in LOOPBACK:
            return _Plain(split.hostname, split.port or 80, timeout=timeout_s)
        raise BadAddress(f"the farm's address {self.url[:200]!r} is not https://: nothing is sent there in the clear")


def retry_after(answer: http.client.HTTPResponse) -> float:
    """For how many seconds the farm wants not to be asked again."""
    said = answer.headers.get("Retry-After", "")
    return min(float(said), LONGEST_RETRY_S) if said.isdecimal() else 0.0


def renew_authority(reach: Reach, timeout_s: float = 30.0) -> bool:
    """Fetch whom to trust from a farm that we trust already: its authority may be on its way out. Whether it changed.

    Raises OSError, HTTPException when the farm does not tell.
    """
    connection = reach.connection(timeout_s)
    try:
        connection.request("GET", f"{reach.prefix}/v1/ca")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    try:
        found = str(json.loads(body)["ca"])
        ssl.create_default_context(cadata=found)
    except (ValueError, KeyError, TypeError) as error:  # an SSLError is an OSError
        raise http.client.HTTPException(f"{answer.status}, and no authority in it") from error
    file = Path(reach.ca)
    if not found or found == file.read_text():
        return False
    write_note(file, found)
    return True


class _Plain(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _watch_over(self.sock)


class _Secure(http.client.HTTPSConnection):
    """Trusts the authority in the file, as it is when it connects, and no other."""

    def __init__(self, host: str, port: int, ca: str, timeout_s: float, trust: ssl.SSLContext | None) -> None:
        self._ca, self._trust = ca, trust
        super().__init__(host, port, timeout=timeout_s, context=trust or _trusting(ca))

    def connect(self) -> None:
        self._context = self._trust or _trusting(self._ca)
        super().connect()
        _watch_over(self.sock)


def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca or None)


def trusting_text(ca: str) -> ssl.SSLContext:
    """The same with the authority itself, in PEM. Raises BadAddress."""
    try:
        return ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise BadAddress(f"the authority in the ticket is no certificate: {error}") from error


def _watch_over(made: socket.socket) -> None:
    """Notice a path that has died without a word."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("KEEPIDLE", 5), ("KEEPINTVL", 5), ("KEEPCNT", 2), ("USER_TIMEOUT", 1000 * MUTE_S)):
        if (option := getattr(socket, f"TCP_{name}", None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
