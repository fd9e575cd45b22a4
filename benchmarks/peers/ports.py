"""Servers on this machine alone."""

import socket
import threading
import time

START_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> socket.socket:
    """A connection as soon as somebody listens there. Raises OSError when nobody does."""
    until, pause = time.monotonic() + START_S, threading.Event()
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except OSError:
            if time.monotonic() > until:
                raise
            pause.wait(0.05)
