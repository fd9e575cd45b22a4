"""Two tap devices; a frame that goes into one comes out of the other after a while: delay_line.py A B MILLISECONDS.

Ends with its standard input. Standard library only.
"""

import fcntl
import os
import selectors
import struct
import sys
import time
from collections import deque

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
MOST = 2000  # frames on the way in one direction; beyond it they are lost, as in a full router


def tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Line:
    """Both directions."""

    def __init__(self, a: int, b: int, delay_s: float) -> None:
        self._other = {a: b, b: a}
        self._delay = delay_s
        self._waiting: deque[tuple[float, int, bytes]] = deque()

    def take(self, fd: int) -> None:
        try:
            while len(self._waiting) < 2 * MOST:
                self._waiting.append((time.monotonic() + self._delay, self._other[fd], os.read(fd, 1 << 16)))
            os.read(fd, 1 << 16)
        except OSError:  # nothing more now, or the device is down
            return

    def give(self) -> float | None:
        """Let those go whose time has come; seconds until the next."""
        while self._waiting:
            due, fd, frame = self._waiting[0]
            if (left := due - time.monotonic()) > 0:
                return left
            self._waiting.popleft()
            try:
                os.write(fd, frame)
            except OSError:  # a device that is down loses it
                continue
        return None


def main() -> None:
    a, b, line_ms = tap(sys.argv[1]), tap(sys.argv[2]), float(sys.argv[3])
    line, seen = Line(a, b, line_ms / 1000), selectors.DefaultSelector()
    for fd in (a, b, 0):
        seen.register(fd, selectors.EVENT_READ)
    os.write(1, b"up\n")
    while True:
        ready = [key.fd for key, _events in seen.select(line.give())]
        if 0 in ready:
            return
        for fd in ready:
            line.take(fd)


if __name__ == "__main__":
    main()
