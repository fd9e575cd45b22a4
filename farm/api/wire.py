"""HTTP for those who come from anywhere: the head of a request is short and comes soon."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from farm.entrance import MOST, address_of

LONGEST_HEAD = 64 << 10  # bytes
PATIENCE_S = 20.0  # for the head of a request
DEAF_S = 2.0
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Wire(HttpToolsProtocol):
    """uvicorn's own waits for the end of a head for ever, and takes one of any length."""

    def __init__(self, refuse: Callable[[str, str], None], **about: Any) -> None:
        super().__init__(**about)
        self.logger = logging.getLogger("farm.wire")  # nonsense from outside is counted, not written down
        self._refuse = refuse
        self._head, self._deaf, self._whole = 0, False, True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST:
            self._end("too many connections")
        else:
            self.wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        super().data_received(data)
        if self._timer is not None:
            self._head += len(data)
            if self._head > LONGEST_HEAD:
                self._cut()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = False
        self.wait_for_head()

    def on_headers_complete(self) -> None:
        self._came()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A stranger who was answered before its body had come could go on sending it for ever."""
        super().on_response_complete()
        if not self._whole and self.cycle.response_complete and "principal" not in self.cycle.scope.get("state", {}):
            self.loop.call_later(PATIENCE_S, self._go_on, self.cycle)

    def _go_on(self, cycle: Any) -> None:
        if self.cycle is cycle and not self._whole and not self.transport.is_closing():
            self._end("a body without an end")

    def send_400_response(self, msg: str) -> None:
        self._refuse(address_of(self.transport), "no HTTP")
        super().send_400_response(msg)

    def wait_for_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(PATIENCE_S, self._late)

    def _late(self) -> None:
        self._timer = None
        self._end("silence")

    def _came(self) -> None:
        self._head = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        """The rest is heard for a moment, else it would not get the answer."""
        self._came()
        self._deaf = True
        self._refuse(address_of(self.transport), "a request without an end")
        self.transport.write(_TOO_LONG)
        self.loop.call_later(DEAF_S, self.transport.abort)

    def _end(self, why: str) -> None:
        self._came()
        self._refuse(address_of(self.transport), why)
        self.transport.abort()
