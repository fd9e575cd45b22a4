"""How a connection to the TLS port begins: a handshake goes on, plain HTTP is told what is wrong, silence ends."""

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable
from typing import Any

HANDSHAKE = 0x16  # the type of a TLS record (RFC 8446, 5.1)
PATIENCE_S = 20.0  # for the first byte, and for the handshake
MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4  # at once: each has two files at first, and the farm its own
Refuse = Callable[[str, str], None]
"""Address, why."""

_SAID = b'{"error":{"what":"this port speaks TLS only","where":"http://","remedy":"write https:// in the URL"}}'
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SAID), _SAID)
)


class Entrance(asyncio.Protocol):
    """Stands before the HTTP protocol until TLS is there; `inner` makes that one."""

    def __init__(self, tls: ssl.SSLContext, refuse: Refuse, inner: Callable[[], Any], open_ones: set[Any]) -> None:
        self._tls, self._refuse, self._inner, self._open = tls, refuse, inner, open_ones
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._peek: socket.socket | None = None
        self._early = bytearray()
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Looks at the first byte without taking it: a handshake has to begin with the first."""
        self._transport = transport
        self._transport.pause_reading()
        self._open.add(self)
        if len(self._open) > MOST:
            self._refuse(address_of(transport), "too many connections")
            self.shutdown()
            return
        self._timer = self._loop.call_later(PATIENCE_S, self._silent)
        self._peek = socket.socket(fileno=_another(transport))
        self._peek.setblocking(False)
        self._loop.add_reader(self._peek, self._look)

    def _look(self) -> None:
        assert self._peek is not None
        try:
            first = self._peek.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        self._seen()
        if not first:
            self._transport.abort()
        elif first[0] == HANDSHAKE:
            self._task = self._loop.create_task(self._secure())
        else:
            self._transport.resume_reading()  # its words are read, else it would not get ours

    def _seen(self) -> None:
        if self._peek is not None:
            self._loop.remove_reader(self._peek)
            self._peek.close()
            self._peek = None

    async def _secure(self) -> None:
        try:
            safe = await self._loop.start_tls(
                self._transport, self, self._tls, server_side=True, ssl_handshake_timeout=PATIENCE_S
            )
        except (OSError, TimeoutError) as error:
            if isinstance(error, ssl.SSLError):
                self._refuse(address_of(self._transport), f"TLS: {_reason(error)}")
            self._leave()
            self._transport.abort()
            return
        self._leave()
        if safe is None or self._ended:
            self._transport.abort()
            return
        self._hand_over(safe)

    def _hand_over(self, safe: Any) -> None:
        """What came with the end of the handshake was for the HTTP protocol already."""
        made = self._inner()
        safe.set_protocol(made)
        made.connection_made(safe)
        if self._early:
            made.data_received(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        if self._task is not None:
            self._early += data
            return
        http = data[:1].isalpha()
        self._refuse(address_of(self._transport), "plain HTTP to the TLS port" if http else "no TLS")
        self._leave()
        if http:
            self._transport.write(_PLAIN)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._leave()

    def shutdown(self) -> None:
        """The server ends."""
        self._leave()
        self._transport.abort()

    def _silent(self) -> None:
        self._timer = None
        if self._task is None:
            self.shutdown()

    def _leave(self) -> None:
        self._seen()
        self._open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _another(transport: asyncio.BaseTransport) -> int:
    """A second descriptor of the connection: the loop keeps the first for itself."""
    own: socket.socket = transport.get_extra_info("socket")
    return own.dup().detach()


def address_of(transport: asyncio.BaseTransport) -> str:
    """Who is at the other end."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no handshake").lower().replace("_", " ")
