"""The HTTP API from the other side. Standard library only, because its import is part of every command's time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlencode

from farm.connection import CHUNK, Body, Connection, Gone, Reads
from farm.home import BadHome, Home
from farm.refusal import Refusal, Unavailable

PATIENCE_S = 60.0
_GONE = (Gone, ConnectionResetError, BrokenPipeError)


class Unreachable(Unavailable):
    """No service answers in this home."""

    def __init__(self, what: str, where: str, remedy: str = "start one with `farm up`") -> None:
        super().__init__(what, where, remedy)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names in lower case. `body` must be read before the next call."""

    status: int
    headers: Mapping[str, str]
    body: Reads


class Transport(Protocol):
    """Carries one request at a time."""

    def send(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Answer:
        """Raises Unreachable when nobody answers."""
        ...

    def close(self) -> None: ...


class _Rest:
    """A body whose reading says what happened when the farm goes away meanwhile."""

    def __init__(self, body: Body, transport: "UnixTransport") -> None:
        self._body, self._transport = body, transport

    def read(self, size: int = -1, /) -> bytes:
        """Raises Unreachable."""
        try:
            return self._body.read(size)
        except OSError as error:
            self._transport.close()
            raise self._transport.unreachable(error) from error


class UnixTransport:
    """HTTP over the Unix socket of a home, one connection kept open."""

    def __init__(self, path: Path, timeout: float = PATIENCE_S) -> None:
        self._path = path
        self._connection = Connection(path, timeout)
        self._used = False

    def open(self) -> None:
        """Raises Unreachable when nobody listens."""
        try:
            self._connection.open()
        except OSError as error:
            self.close()
            raise self.unreachable(error) from error

    def send(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Answer:
        """A connection that had gone stale is made anew, unless the call could then be carried out twice."""
        if method == "POST" and self._used:
            self.close()
        fresh = not self._used
        try:
            return self._ask(method, path, body, headers)
        except _GONE as error:
            self.close()
            if fresh or not (body is None or isinstance(body, bytes)):
                raise self.unreachable(error) from error
        return self.send(method, path, body, headers)

    def _ask(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Answer:
        try:
            status, told, rest = self._connection.ask(method, path, headers, body)
            self._used = True
        except _GONE:
            raise
        except OSError as error:
            self.close()
            raise self.unreachable(error) from error
        return Answer(status, told, _Rest(rest, self))

    def unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable("the farm does not answer", str(self._path), "look into service.log of its home")
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return Unreachable("no farm is running here", f"socket {self._path}")
        return Unreachable(f"the farm went away: {error or type(error).__name__}", str(self._path))

    def close(self) -> None:
        self._connection.close()
        self._used = False


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes of a log; `next` is the offset after them, `final` says that no more will come, `note` what is missing."""

    data: bytes
    next: int
    final: bool
    note: str = ""


class Client:
    """Calls of the API. Every method raises Refusal: what, where, remedy."""

    def __init__(self, transport: Transport, token: str, *, running: bool = True) -> None:
        self._transport = transport
        self._token = token
        self.running = running  # False: nobody works on the queue, the database is read directly

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def get(self, path: str, **query: object) -> Any:
        """The JSON below `path`; query parameters that are None are left out."""
        return self._json(self._call("GET", path, query))

    def post(self, path: str, body: object = None) -> Any:
        data = json.dumps({} if body is None else body).encode()
        return self._json(self._call("POST", path, {}, data, {"Content-Type": "application/json"}))

    def has(self, digest: str) -> bool:
        """Whether the store holds these bytes."""
        answer = self._send("HEAD", f"/v1/store/{digest}", {})
        answer.body.read()
        if answer.status not in (200, 404):
            raise refusal(answer.status, b"", f"/v1/store/{digest}")
        return answer.status == 200

    def upload(self, digest: str, source: IO[bytes], size: int) -> None:
        """Put bytes into the store; bytes that are not their digest are refused."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._call("PUT", f"/v1/store/{digest}", {}, source, headers).body.read()

    def download(self, digest: str, into: IO[bytes]) -> None:
        """Bytes of the store, written to `into`."""
        body = self._call("GET", f"/v1/store/{digest}", {}).body
        while chunk := body.read(CHUNK):
            into.write(chunk)

    def log(self, ref: str, offset: int = 0, wait_s: float = 0) -> LogPart:
        """The log of a task's last attempt, or of an attempt, from `offset`; waits up to `wait_s` for more."""
        answer = self._call("GET", f"/v1/logs/{quote(ref)}", {"offset": offset, "wait": wait_s or None})
        data = answer.body.read()
        final = answer.headers.get("farm-final", "").lower() == "true"
        note = answer.headers.get("farm-note", "")
        return LogPart(data, int(answer.headers.get("farm-offset") or offset + len(data)), final, note)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        answer = self._send(method, path, query, body, headers)
        if answer.status >= 400:
            raise refusal(answer.status, answer.body.read(), path)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        asked = {key: _plain(value) for key, value in query.items() if value is not None}
        target = f"{path}?{urlencode(asked)}" if asked else path
        return self._transport.send(method, target, body, {"Authorization": f"Bearer {self._token}", **(headers or {})})

    @staticmethod
    def _json(answer: Answer) -> Any:
        data = answer.body.read()
        return json.loads(data) if data.strip() else None


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def refusal(status: int, body: bytes, path: str) -> Refusal:
    """What an error answer says, with its HTTP status."""
    try:
        said = json.loads(body)["error"]
        made = Refusal(said["what"], said.get("where") or "", said.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        made = Refusal(f"the farm answered {status}", path, "look into service.log of its home")
    made.status = status
    return made


def connect(home: Home) -> Client:
    """A client of the service running in this home. Raises Unreachable when there is none."""
    transport = UnixTransport(home.socket)
    transport.open()
    try:
        return Client(transport, home.token())
    except BadHome as error:
        raise Unreachable(error.what, error.where, error.remedy) from error
