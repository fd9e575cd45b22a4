"""Sizes as people write them: 512M, 4G, 1.5GiB; powers of 1024."""

import os
import re

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class BadSize(ValueError):
    """The text is no size; the message says what to type."""


def parse_size(text: str) -> int:
    """Bytes. Raises BadSize."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise BadSize(f"{text[:40]!r} is no size; write it like 512M or 4G")
    number, unit = match.groups()
    size = float(number) * 1024 ** _POWER[unit.lower()]
    if size >= 1 << 62:
        raise BadSize(f"{text[:40]!r} is more than there can be; write it like 512M or 4G")
    return int(size)


def format_size(size: int) -> str:
    """Short and readable: 512 MiB, 1.5 GiB."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{round(size / (1 << bits), 1):g} {unit}"
    return f"{size} bytes"


def memory_here() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
