"""The HTTP API from the other side. Standard library only, because its import is part of every command's time."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from farm.connection import CHUNK
from farm.home import BadHome, Home
from farm.patience import SENDING_S, Away, Patience
from farm.refusal import Refusal
from farm.transport import Answer, Transport, UnixTransport, Unreachable

if TYPE_CHECKING:
    from farm.login import Login

__all__ = ["Answer", "Client", "LogPart", "UnixTransport", "Unreachable", "connect", "refusal"]


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes of a log; `next` is the offset after them, `final` says that no more will come, `note` what is missing."""

    data: bytes
    next: int
    final: bool
    note: str = ""


class Client:
    """Calls of the API. Every method raises Refusal: what, where, remedy."""

    def __init__(self, transport: Transport, token: str, *, running: bool = True, at: str = "") -> None:
        self._transport = transport
        self._token = token
        self.running = running  # False: nobody works on the queue, the database is read directly
        self.at = at  # the URL of a farm elsewhere
        self._asking, self._sending = Patience(0), Patience(SENDING_S)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def bear(self, patience: Patience) -> None:
        """From now on repeat questions, and what may be sent twice, while the farm is away."""
        self._asking = self._sending = patience

    def get(self, path: str, **query: object) -> Any:
        """The JSON below `path`; query parameters that are None are left out."""
        return self._asking.endure(lambda: _json(self._call("GET", path, query)))

    def post(self, path: str, body: object = None) -> Any:
        """Sent once: when the farm goes away meanwhile, nobody knows whether it was carried out."""
        return self._post(path, body, {})

    def submit(self, path: str, body: object) -> Any:
        """As `post`, under a key of its own: repeated after a cut, and carried out once all the same."""
        key = {"Idempotency-Key": os.urandom(16).hex()}
        return self._sending.endure(lambda: self._post(path, body, key))

    def _post(self, path: str, body: object, headers: Mapping[str, str]) -> Any:
        data = json.dumps({} if body is None else body).encode()
        return _json(self._call("POST", path, {}, data, {"Content-Type": "application/json", **headers}))

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of the digests that the store does not hold."""
        body = {"digests": list(digests)}
        return list(self._sending.endure(lambda: self._post("/v1/store/missing", body, {}))["missing"])

    def upload(self, digest: str, source: IO[bytes], size: int) -> None:
        """Put bytes into the store; bytes that are not their digest are refused."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        begin = source.tell()

        def bring() -> None:
            source.seek(begin)
            self._call("PUT", f"/v1/store/{digest}", {}, source, headers).body.read()

        self._sending.endure(bring)

    def upload_pack(self, pack: bytes) -> None:
        """Put many files into the store: see farm.packs."""
        told = {"Content-Type": "application/octet-stream"}
        self._sending.endure(lambda: self._call("POST", "/v1/store/pack", {}, pack, told).body.read())

    def download(self, digest: str, into: IO[bytes]) -> None:
        """Bytes of the store, written to `into`."""
        begin = into.tell()

        def fetch() -> None:
            into.seek(begin)
            into.truncate()
            body = self._call("GET", f"/v1/store/{digest}", {}).body
            while chunk := body.read(CHUNK):
                into.write(chunk)

        self._asking.endure(fetch)

    def log(self, ref: str, offset: int = 0, wait_s: float = 0) -> LogPart:
        """The log of a task's last attempt, or of an attempt, from `offset`; waits up to `wait_s` for more."""
        return self._asking.endure(lambda: self._log(ref, offset, wait_s))

    def _log(self, ref: str, offset: int, wait_s: float) -> LogPart:
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
        asked = {key: _plain(value) for key, value in query.items() if value is not None}
        target = f"{path}?{urlencode(asked)}" if asked else path
        told = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        answer = self._transport.send(method, target, body, told)
        if answer.status >= 400:
            made = self._refusal(answer.status, answer.body.read(), path)
            if answer.status == 503 and "retry-after" in answer.headers:  # its database is away, and will be back
                raise Away(made.what, made.where, made.remedy) from made
            raise made
        return answer

    def _refusal(self, status: int, body: bytes, path: str) -> Refusal:
        made = refusal(status, body, path)
        if status == 401 and self.at:
            made.where, made.remedy = self.at, f"get a new token, then type `farm login {self.at}` or set FARM_TOKEN"
        return made


def _json(answer: Answer) -> Any:
    data = answer.body.read()
    return json.loads(data) if data.strip() else None


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_GOING = (500, 502, 503, 504)  # without words of ours: a service that is shut down under a call, or a proxy says so


def refusal(status: int, body: bytes, path: str) -> Refusal:
    """What an error answer says, with its HTTP status."""
    try:
        said = json.loads(body)["error"]
        made = Refusal(said["what"], said.get("where") or "", said.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        kind = Unreachable if status in _GOING else Refusal
        made = kind(f"the farm answered {status}", path, "look into service.log of its home")
    made.status = status
    return made


def connect(place: "Home | Login") -> Client:
    """A client of the service running in this home, or elsewhere. Raises Unreachable when there is none."""
    if isinstance(place, Home):
        return _beside(place)
    from farm.remote import reach

    return reach(place)


def _beside(home: Home) -> Client:
    try:
        return at_socket(home, home.socket)
    except Unreachable:
        if (found := _through_another(home)) is not None:
            return found
        raise


def at_socket(home: Home, path: Path) -> Client:
    """Raises Unreachable."""
    transport = UnixTransport(path)
    transport.open()
    try:
        return Client(transport, home.token())
    except BadHome as error:
        raise Unreachable(error.what, error.where, error.remedy) from error


def _through_another(home: Home) -> Client | None:
    """Through a process of the API in this home, while somebody leads the farm elsewhere."""
    for path in sorted(home.doors.glob("*.sock")):
        try:
            client = at_socket(home, path)
            if client.get("/v1/status")["running"]:
                return client
            client.close()
        except Refusal:
            continue
    return None
