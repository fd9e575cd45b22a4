"""The lock of a home: whoever holds it is the one service there, and is named in it."""

import contextlib
import fcntl
import os
from typing import IO

from farm.home import Home


def taken(home: Home) -> IO[str] | None:
    """The lock, for as long as the file is open; None while somebody else has it."""
    lock = open(home.lock, "a+")
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock.fileno()), os.stat(home.lock)):  # nobody has replaced it meanwhile
            return lock
    lock.close()
    return None


def seized(home: Home) -> IO[str]:
    """A lock in the place of one that a machine holds of which nothing is heard. Only for who has fenced it off."""
    coming = home.lock.with_name(f"{home.lock.name}-{os.getpid()}")
    lock = open(coming, "a+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.replace(coming, home.lock)
    return lock


def sign(lock: IO[str]) -> None:
    """Write down whose it is."""
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def holder(home: Home) -> int:
    """The process that signed it last; 0 when nobody did."""
    try:
        return int(home.lock.read_text())
    except (OSError, ValueError):
        return 0
