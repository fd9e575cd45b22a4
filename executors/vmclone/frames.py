"""What goes over the serial line between a host and a guest: a JSON value and raw bytes, both with their lengths."""

import json
import struct
from collections.abc import Callable
from typing import Any

LENGTHS = struct.Struct("!II")
MOST_HEAD = 8 << 20  # bytes; more is nonsense
MOST_DATA = 32 << 20


class Garbled(Exception):
    """What comes over the line is none of ours, or nothing comes any more."""


def packed(head: Any, data: bytes = b"") -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return LENGTHS.pack(len(text), len(data)) + text + data


def unpacked(read: Callable[[int], bytes]) -> tuple[Any, bytes]:
    """The next frame; `read(n)` gives n bytes at most, none at the end. Raises Garbled."""
    head, data = LENGTHS.unpack(_exactly(read, LENGTHS.size))
    if head > MOST_HEAD or data > MOST_DATA:
        raise Garbled(f"a frame of {head} and {data} bytes is announced")
    text = _exactly(read, head)
    try:
        return json.loads(text), _exactly(read, data)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"a frame is no JSON: {error}") from error


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts, left = [], size
    while left:
        part = read(min(left, 1 << 20))
        if not part:
            raise Garbled("the line has ended")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
