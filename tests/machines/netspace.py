"""A network namespace, alive as long as this process holds its cord: nothing is left when a test run is killed."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CLONE_NEWNET = 0x40000000
_HOLDER = ("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat >/dev/null")


class NetSpace:
    """A network of its own: at first only a loopback."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(_HOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"up\n":
            self.close()
            raise OSError("this machine makes no network namespaces: the bench needs root and iproute2")

    @property
    def pid(self) -> int:
        """A process in it."""
        return self._holder.pid

    @property
    def path(self) -> str:
        return f"/proc/{self.pid}/ns/net"

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` in here, in the host's file system and among the host's processes."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv: str, text: str = "", env: Mapping[str, str] | None = None) -> str:
        """Its output. Raises OSError with what it complained of."""
        done = subprocess.run(self.argv(argv), input=text, capture_output=True, text=True, timeout=60, env=env)
        if done.returncode != 0:
            raise OSError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def popen(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(self.argv(argv), **options)

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """This thread is in here: sockets made now belong here for ever, threads started now stay here."""
        return entered(self.path)

    def close(self) -> None:
        """Let it go; the kernel takes it when its last process ends."""
        if self._holder.returncode is None:
            self._holder.communicate(timeout=30)


@contextlib.contextmanager
def entered(path: str) -> Iterator[None]:
    """This thread is in the network of this path below /proc."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before, open(path) as here:
        _set(libc, here.fileno())
        try:
            yield
        finally:
            _set(libc, before.fileno())


def _set(libc: ctypes.CDLL, fd: int) -> None:
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
