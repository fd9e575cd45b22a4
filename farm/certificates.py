"""What the server shows to those who connect: the farm's own certificate, or one that was given. Never a restart."""

import logging
import ssl
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from farm.tls import Authority

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where a certificate comes from."""

    def renewed(self) -> bool:
        """Whether there is another one than before; makes it where that is ours to do. Raises OSError, ValueError."""
        ...

    def load(self, context: ssl.SSLContext) -> None:
        """Raises OSError (ssl.SSLError is one)."""
        ...

    def ca(self) -> str:
        """What others have to trust, in PEM; "" for what every machine trusts."""
        ...


class Own:
    """Of the farm's own authority."""

    def __init__(self, authority: Authority, names: Collection[str]) -> None:
        self.authority, self._names = authority, names

    def renewed(self) -> bool:
        return self.authority.ready(self._names)

    def load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self.authority.server_file)

    def ca(self) -> str:
        return self.authority.ca()


class Given:
    """Of files that somebody else renews."""

    def __init__(self, certificate: Path, key: Path, ca: Path | None) -> None:
        self._files, self._ca = (certificate, key), ca
        self._seen: list[tuple[int, int]] = []

    def renewed(self) -> bool:
        now = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in self._files]
        before, self._seen = self._seen, now
        return before != now

    def load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(*self._files, password=_no_password)

    def ca(self) -> str:
        return self._ca.read_text() if self._ca else ""


class Certificates:
    """The TLS side of a port; `context` is for the server, and shows the newest certificate with every handshake."""

    def __init__(self, source: Source) -> None:
        """Raises OSError, ValueError when there is no certificate that can be shown."""
        self.source = source
        self._lock, self._due = threading.Lock(), False
        source.renewed()
        self._newest = self._loaded()
        self.context = self._loaded()
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Renew or read anew what is due; whether it was. What can't be used is told, and the one before stays."""
        with self._lock:
            try:
                self._due = self.source.renewed() or self._due
                if not self._due:
                    return False
                self._newest = self._loaded()
                self._due = False  # not before: half of what was given may come later
            except (OSError, ValueError) as error:
                log.error("the certificate can't be renewed, the one before stays: %s", error)
                return False
        log.info("another certificate is shown from now on")
        return True

    def ca(self) -> str:
        return self.source.ca()

    def _loaded(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        self.source.load(made)
        return made

    def _choose(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest


def _no_password() -> str:
    raise ValueError("the key has a password; give one without")
