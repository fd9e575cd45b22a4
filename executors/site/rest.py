"""Rest for the main thread of a Ray worker that nobody calls, and the bell that ends it.

That thread takes an actor's calls in, and between them looks for signals every 10 ms (Ray 2.60, its core worker's
`RunTaskExecutionLoop`; no setting): of twenty idle executors a tenth of a core. So when nobody has rung for a moment it
is made to wait where it looks, in the handler of a signal. Who calls rings, by a datagram beside the call. A ring that
is lost costs no more than `REST_S`, after which it looks by itself.
"""

import contextlib
import os
import select
import signal
import socket
import threading
import time
from _thread import interrupt_main
from pathlib import Path
from typing import Any

SIGNAL = signal.SIGUSR2  # never sent: Python is told it had come
REST_S = 1.0
AWAKE_S = 0.15  # after a ring; its call comes another way, and later
LOOK_S = 0.03
RING_S = AWAKE_S / 3  # who has rung need not again


class Rest:
    """To be made in the main thread."""

    def __init__(self, bell: Path) -> None:
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(bell)
        self._bell.bind(str(bell))
        self._awake = threading.Event()
        self._awake.set()
        self._resting = False
        signal.signal(SIGNAL, lambda *_: self._rest())
        threading.Thread(target=self._listen, name="bell", daemon=True).start()

    def _rest(self) -> None:
        if self._resting:  # it was let go, and has not got a processor since: it would wait for a lock of its own
            return
        self._resting = True
        try:
            self._awake.wait(2 * REST_S)  # the other thread lets it go before that
        finally:
            self._resting = False

    def _listen(self) -> None:
        stay_s = AWAKE_S
        while True:
            if select.select([self._bell], [], [], stay_s)[0]:
                self._bell.recv(1)
                self._awake.set()
                stay_s = AWAKE_S
            elif self._awake.is_set():
                self._awake.clear()
                interrupt_main(SIGNAL)
                stay_s = REST_S
            else:
                self._awake.set()
                stay_s = LOOK_S


class Ringing:
    """An actor's handle: each call of it rings before."""

    def __init__(self, handle: Any, bell: Path) -> None:
        self.handle = handle
        self._path, self._rung = str(bell), -RING_S
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __getattr__(self, method: str) -> Any:
        now = time.monotonic()
        if now - self._rung >= RING_S:
            self._rung = now
            with contextlib.suppress(OSError):  # it is not there yet, or no more, or has not heard the last ones
                self._socket.sendto(b"!", self._path)
        return getattr(self.handle, method)
