"""Secrets by reference: the queue knows where one is, only a work that is handed out holds it."""

import errno
import os
import stat
from collections.abc import Mapping

_LASTING = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL)
LEAST, MOST = 4, 65_536  # bytes; a shorter one would blot out half of every log


class Unreadable(Exception):
    """The secret can't be had; one sentence that does not hold it. `lasting`: until somebody mends it."""

    def __init__(self, what: str, lasting: bool = True) -> None:
        super().__init__(what)
        self.lasting = lasting


def read(reference: str, environment: Mapping[str, str] = os.environ) -> str:
    """The secret behind `file:/PATH` (a last line feed does not count) or `env:NAME`. Raises Unreadable."""
    kind, _, place = reference.partition(":")
    try:
        data = _content(place) if kind == "file" else os.fsencode(environment[place])
        found = data.removesuffix(b"\n").decode()
    except KeyError:
        raise Unreadable(f"{reference}: the service has no such variable") from None
    except OSError as error:
        why = f"{reference} can't be read by the service: {error.strerror}"
        raise Unreadable(why, lasting=error.errno in _LASTING) from None
    except ValueError:
        raise Unreadable(f"{reference} is no text in UTF-8") from None
    if not LEAST <= len(found.encode()) <= MOST or "\0" in found:
        raise Unreadable(f"{reference} is no text of {LEAST} to {MOST:,} bytes")
    return found


def _content(path: str) -> bytes:
    """Of a plain file, as far as it matters; nothing that the service would have to wait for. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        return file.read(MOST + 2)
