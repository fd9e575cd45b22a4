"""Where a farm on another machine is, and how it is spoken to there: TLS with a pinned CA, or plain on loopback."""

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from farm.connection import Dial, tcp
from farm.refusal import Refusal

if TYPE_CHECKING:
    import ssl

_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_FORM = "write it like https://farm.example.org:8443"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A URL in its parts; `prefix` stands before every path, "" or "/farm"."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def name(self) -> str:
        """For the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}{self.prefix}"


def parse_address(text: str, where: str) -> Address:
    """Raises Refusal for what is no URL of a farm, and for a far one without TLS. Never repeats a password."""
    split, port = _split(text.strip(), where)
    if split.username is not None or split.password is not None:
        raise Refusal("the URL holds a user or password", where, "leave them out; a token says who you are")
    if not split.hostname or split.query or split.fragment or not text.isprintable() or " " in text.strip():
        raise Refusal(f"{text[:100]!r} is no URL of a farm", where, _FORM)
    if split.scheme == "http" and not _LOOPBACK.fullmatch(split.hostname):
        what = f"{split.hostname} is another machine, and http:// would show it your token and work in the clear"
        raise Refusal(what, where, f"write https://{split.netloc}")
    return Address(split.scheme, split.hostname, port or _PORTS[split.scheme], split.path.rstrip("/"))


def _split(text: str, where: str) -> tuple[SplitResult, int | None]:
    if "://" not in text and "@" not in text:
        raise Refusal(f"{text[:100]!r} does not begin with https://", where, _FORM)
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError as error:
        raise Refusal(f"that is no URL: {error}", where, _FORM) from error
    if split.scheme not in _PORTS:
        raise Refusal(f"a farm is not reached by {split.scheme[:20]}://", where, _FORM)
    return split, port


def dial_of(address: Address, context: "ssl.SSLContext | None") -> Dial:
    """How to get there; `context` is needed for https."""
    plain = tcp(address.host, address.port)
    if context is None:
        return plain

    def dial(timeout: float) -> socket.socket:
        made = plain(timeout)
        try:
            return context.wrap_socket(made, server_hostname=address.host)
        except BaseException:
            made.close()
            raise

    return dial


def trusting(ca: str, where: str) -> "ssl.SSLContext":
    """Trusts the certificates of `ca` (PEM) and no other, or without one those that this machine trusts.

    Raises Refusal when it holds none.
    """
    import ssl

    try:
        return ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise Refusal("that is no certificate in PEM", where, "give the file that `farm ca show` writes") from error


def trusting_anybody() -> "ssl.SSLContext":
    """To ask who is there; nothing secret may be sent."""
    import ssl

    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made
