"""Where to listen, as people write it: HOST:PORT."""

from typing import NamedTuple

from farm.refusal import Refusal

OPTION = "--listen"
EVERYWHERE = ("", "0.0.0.0", "::")
_FORM = "write it like 0.0.0.0:8443, farm.example.org:8443 or [::]:8443"


class Place(NamedTuple):
    """An empty host is every address of this machine, port 0 any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_place(text: str, where: str = OPTION) -> Place:
    """`HOST:PORT`, `:PORT`, `[IPV6]:PORT`. Raises Refusal."""
    host, colon, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not (port.isascii() and port.isdecimal()) or int(port[:6]) > 65_535 or "/" in host:
        raise Refusal(f"{text[:100]!r} is no place to listen", where, _FORM)
    if ":" in bare and bare == host:
        raise Refusal(f"{text[:100]!r} is no place to listen", where, "put an IPv6 address into [ ]")
    if not bare.isprintable() or " " in bare or len(bare) > 253:
        raise Refusal(f"{text[:100]!r} is no place to listen", where, _FORM)
    return Place("" if bare == "*" else bare, int(port))
