"""How one request reaches a farm and its answer comes back: over the socket of a home, or over TCP and TLS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from farm import API, __version__
from farm.connection import Body, Connection, Dial, Garbled, Reads, unix, was_cut
from farm.patience import Away

if TYPE_CHECKING:
    from farm.address import Address

PATIENCE_S = 60.0
TLS_ONLY = "this port speaks TLS only"  # as farm.entrance answers plain HTTP


class Unreachable(Away):
    """No service answers there."""

    def __init__(self, what: str, where: str, remedy: str = "start one with `farm up`", lasting: bool = False) -> None:
        super().__init__(what, where, remedy)
        self.lasting = lasting


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

    def __init__(self, body: Body, transport: "HttpTransport") -> None:
        self._body, self._transport = body, transport

    def read(self, size: int = -1, /) -> bytes:
        """Raises Unreachable."""
        try:
            return self._body.read(size)
        except OSError as error:
            self._transport.close()
            raise self._transport.unreachable(error) from error


class HttpTransport:
    """One connection, kept open."""

    def __init__(
        self,
        dial: Dial,
        explain: Callable[[OSError], Unreachable],
        *,
        host: str = "farm",
        prefix: str = "",
        timeout: float = PATIENCE_S,
    ) -> None:
        self._connection = Connection(dial, timeout, host)
        self.unreachable, self._prefix = explain, prefix
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
        try:
            return self._ask(method, path, body, headers)
        except OSError as error:
            fresh = not self._used
            self.close()
            if fresh or not was_cut(error) or not (body is None or isinstance(body, bytes)):
                raise self.unreachable(error) from error
        return self.send(method, path, body, headers)

    def _ask(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Answer:
        status, told, rest = self._connection.ask(method, self._prefix + path, headers, body)
        self._used = True
        return Answer(status, told, _Rest(rest, self))

    def close(self) -> None:
        self._connection.close()
        self._used = False


class UnixTransport(HttpTransport):
    """HTTP over the Unix socket of a home."""

    def __init__(self, path: Path, timeout: float = PATIENCE_S) -> None:
        super().__init__(unix(path), lambda error: _not_here(path, error), timeout=timeout)


def _not_here(path: Path, error: OSError) -> Unreachable:
    if isinstance(error, TimeoutError):
        return Unreachable("the farm does not answer", str(path), "look into service.log of its home")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return Unreachable("no farm is running here", f"socket {path}")
    return Unreachable(f"the farm went away: {error.strerror or error or type(error).__name__}", str(path))


class RemoteTransport(HttpTransport):
    """HTTP or HTTPS to a farm on another machine; what is no farm of our version is told apart."""

    def __init__(self, address: "Address", dial: Dial, timeout: float = PATIENCE_S) -> None:
        super().__init__(dial, self._away, host=address.name, prefix=address.prefix, timeout=timeout)
        self._where = str(address)

    def send(self, method: str, path: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Answer:
        answer = super().send(method, path, body, headers)
        told = answer.headers.get("farm-api")
        if told == API:
            return answer
        said = "" if told else _said(answer)
        self.close()
        raise self._other(answer, told, said)

    def _other(self, answer: Answer, told: str | None, said: str) -> Unreachable:
        if told is not None:
            theirs = answer.headers.get("farm-version", "?")[:20]
            what = f"that farm is of version {theirs}, this program of {__version__}"
            return Unreachable(what, self._where, "install the same version here", lasting=True)
        if answer.status in (502, 503, 504):
            return Unreachable(f"a proxy before the farm says {answer.status}", self._where, "try again in a minute")
        if said == TLS_ONLY:
            return Unreachable(said, self._where, "write https:// in the URL", lasting=True)
        what = "what answers there is no farm, or one of an older version"
        return Unreachable(what, self._where, "check the URL, and the version with `farm --version`", lasting=True)

    def _away(self, error: OSError) -> Unreachable:
        what, remedy, lasting = _explained(error)
        return Unreachable(what, self._where, remedy, lasting=lasting)


def _said(answer: Answer) -> str:
    """What the port itself said before any farm was asked; "" for anything else."""
    import json

    try:
        return str(json.loads(answer.body.read(4096))["error"]["what"]) if answer.status == 400 else ""
    except (Unreachable, ValueError, KeyError, TypeError):
        return ""


_CHECK_CA = "log in again with the CA of that farm: `farm login URL --fingerprint …` (`farm ca show` there tells it)"
_KINDS = {
    "gaierror": ("there is no machine of that name, as far as this one knows", "check the URL and the network"),
    "ConnectionRefusedError": ("nothing listens there", "check the URL, and that the farm is up"),
    "TimeoutError": ("the farm does not answer", "check the URL and the network, and that the farm is up"),
}


def _explained(error: OSError) -> tuple[str, str, bool]:
    """What happened, what to do, whether it stays so."""
    kind, text = type(error).__name__, str(error)
    if kind == "SSLCertVerificationError":
        why = getattr(error, "verify_message", "") or "it can't be verified"
        return f"its certificate is not trusted: {why}", _CHECK_CA, True
    if isinstance(error, Garbled) or "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return "what answers there speaks another protocol", "check the port, and http against https", True
    if kind in _KINDS:
        return *_KINDS[kind], False
    return (
        f"the farm went away: {error.strerror or text or kind}",
        "check the network, and that the farm is up; then try again",
        False,
    )
