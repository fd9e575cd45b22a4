"""The TCP port of a farm that others can reach: where it listens, how they get there, and whom they have to trust."""

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from farm.certificates import Certificates, Given, Own, Source
from farm.clock import Clock
from farm.config import ListenConfig
from farm.home import Home
from farm.place import EVERYWHERE, OPTION, Place, parse_place
from farm.refusal import Refusal, Unavailable
from farm.tls import Authority, fingerprint

log = logging.getLogger(__name__)


class BadListening(Unavailable):
    """It can't listen there."""


class Listener:
    """A port that is open. On loopback it speaks plain HTTP, everywhere else TLS and nothing but TLS."""

    def __init__(self, home: Home, config: ListenConfig, place: Place, clock: Clock, *, leads: bool = True) -> None:
        """Without `leads` nothing is written down but a certificate of its own. Raises BadListening."""
        self._file = home.listening if leads else None
        before = 0 if place.port or not leads else _last_port(home)
        self.socket = _bound_again(place, before)
        try:
            host, self.port = self.socket.getsockname()[:2]
            self.moved = before if before != self.port else 0  # the port of last time, where somebody else has it
            if self.moved:
                log.warning("port %d, that of last time, is taken: it is %d now", before, self.port)
            self.plain = ip_address(host).is_loopback
            self._host = host if place.host in EVERYWHERE else place.host
            self.url = (config.url or self._own_url()).rstrip("/")
            self.straight = self._straight(config)
            own = "" if leads else f"{socket.gethostname()}-{self.port}"
            self.tls = None if self.plain else _certificates(home, config, clock, self._names(config), own)
            self._given_ca = home.path / config.ca if self.plain and config.ca else None
            self.told()
            if leads:
                self._keep_port(home)
        except BaseException:
            self.socket.close()
            raise

    def ca(self) -> str:
        """What others have to trust, in PEM; "" on loopback, and where the certificate is one that everybody trusts."""
        if self.tls is not None:
            return self.tls.ca()
        return self._given_ca.read_text() if self._given_ca else ""

    def about(self) -> dict[str, Any]:
        """For `farm status`, and the file of the home that says the same."""
        ca = self.ca()
        said = {"address": str(Place(self._host, self.port)), "port": self.port, "url": self.url, "tls": not self.plain}
        return {**said, "fingerprint": fingerprint(ca) if ca else "", "moved": self.moved or None}

    def told(self) -> None:
        """Write the file anew."""
        if self._file is None:
            return
        coming = self._file.with_suffix(".coming")
        coming.write_text(json.dumps(self.about()) + "\n")
        coming.replace(self._file)

    def _keep_port(self, home: Home) -> None:
        """Executors elsewhere and logins know it: a farm that takes any port takes the same one again."""
        coming = home.last_port.with_suffix(".coming")
        coming.write_text(f"{self.port}\n")
        coming.replace(home.last_port)

    def close(self) -> None:
        self.socket.close()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _straight(self, config: ListenConfig) -> str:
        """For the farm's own processes on other machines: past whatever `url` leads through, where there is a way. ""
        where there is none: on their machine our loopback's port is of somebody else."""
        if self.plain:
            return self.url if self.url.startswith("https://") else ""
        return self.url if config.certificate else self._own_url()

    def _own_url(self) -> str:
        host = socket.gethostname() if self._host in EVERYWHERE else self._host
        return f"{'http' if self.plain else 'https'}://{Place(host, self.port)}"

    def _names(self, config: ListenConfig) -> frozenset[str]:
        """All by which somebody may come."""
        found = {"localhost", "127.0.0.1", "::1", socket.gethostname(), *own_addresses()}
        found |= {self._host} - set(EVERYWHERE)
        if host := urlsplit(config.url or "").hostname:
            found.add(host)
        return frozenset(filter(None, map(_certifiable, found)))


def opened(home: Home, config: ListenConfig, given: str | None, clock: Clock) -> Listener | None:
    """None where nobody asked for one. Raises BadListening, Refusal for what is given and no place."""
    home.listening.unlink(missing_ok=True)
    if given is not None:
        return Listener(home, config, parse_place(given), clock)
    if config.address is None:
        return None
    try:
        place = parse_place(config.address, f"{home.config_file} [listen] address")
    except Refusal as error:
        raise BadListening(error.what, error.where, error.remedy) from error
    return Listener(home, config, place, clock)


def own_addresses() -> set[str]:
    """The IP addresses of this machine, without those that need a zone."""
    return {one for one in (*_ipv4(), *_ipv6()) if not ip_address(one).is_link_local}


def _ipv4() -> Iterator[str]:
    """From the kernel's own routes: a leaf, and below it what it is (proc(5))."""
    try:
        lines = Path("/proc/net/fib_trie").read_text().splitlines()
    except OSError:
        return
    for leaf, kind in pairwise(lines):
        if "/32 host LOCAL" in kind and "|--" in leaf:
            yield leaf.rpartition(" ")[2]


def _ipv6() -> Iterator[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        digits = line.split()[0]
        yield str(ip_address(bytes.fromhex(digits)))


def _certifiable(name: str) -> str:
    """As it stands in a certificate; "" for a name that can't."""
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    try:
        return name.encode("idna").decode().lower()
    except UnicodeError:
        return ""


def _last_port(home: Home) -> int:
    """0 where there was none."""
    try:
        return int(home.last_port.read_text()) % 65_536
    except (OSError, ValueError):
        return 0


def _bound_again(place: Place, before: int) -> socket.socket:
    """At `before` where that is a port and free. Raises BadListening."""
    if before:
        with contextlib.suppress(BadListening):
            return _bound(Place(place.host, before))
    return _bound(place)


def _bound(place: Place) -> socket.socket:
    """Raises BadListening."""
    try:
        if not place.host and socket.has_dualstack_ipv6():
            return _prompt(
                socket.create_server(("::", place.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
            )
        family, *_, address = socket.getaddrinfo(
            place.host or "0.0.0.0", place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _prompt(socket.create_server(address[:2], family=family, backlog=512))
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        what = f"the farm can't listen there: {why}"
        raise BadListening(what, f"{OPTION} {place}", _remedy(error, place)) from error


def _prompt(made: socket.socket) -> socket.socket:
    """Connections inherit it. asyncio asks for it only where the socket names its protocol, and without it every answer
    waits 40 ms for the other end's acknowledgement."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _remedy(error: OSError, place: Place) -> str:
    if isinstance(error, PermissionError):
        return "choose a port above 1023"
    if isinstance(error, socket.gaierror) or error.errno == 99:  # EADDRNOTAVAIL
        return "name an address of this machine, such as " + ", ".join(sorted(own_addresses() - {"::1"}))
    return f"choose another port; `ss -ltnp 'sport = {place.port}'` names who has this one"


def _certificates(home: Home, config: ListenConfig, clock: Clock, names: frozenset[str], own: str) -> Certificates:
    """Raises BadListening."""
    where = f"{home.config_file} [listen] certificate" if config.certificate else str(home.tls)
    try:
        return Certificates(_source(home, config, clock, names, own))
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        remedy = "give a certificate and its key in PEM" if config.certificate else "look at that folder"
        raise BadListening(f"there is no certificate that can be used: {said}", where, remedy) from error


def _source(home: Home, config: ListenConfig, clock: Clock, names: frozenset[str], own: str) -> Source:
    """`own`: a file of its own for the certificate of who does not lead."""
    if config.certificate is None:
        authority = authority_of(home, clock)
        if own:
            authority.server_file = home.tls / f"server-{own}.pem"
        return Own(authority, names)
    key = home.path / os.path.expanduser(config.key or config.certificate)
    ca = home.path / os.path.expanduser(config.ca) if config.ca else None
    return Given(home.path / os.path.expanduser(config.certificate), key, ca)


def authority_of(home: Home, clock: Clock) -> Authority:
    """The farm's own authority, made when it is first needed."""
    return Authority(home.tls, home.identity(), clock)
