"""A hash-locked set of source distributions: `name==version --hash=sha256:…`, one after the other."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from farm.refusal import Refusal

_LINE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)\s+--hash=sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One sdist: normalised name, version, sha256 in hex."""

    name: str
    version: str
    digest: str


def read_lock(path: Path) -> tuple[Pin, ...]:
    """Raises Refusal for a line that is no pin with one hash."""
    try:
        text = path.read_text()
    except OSError as error:
        raise Refusal(f"no lock: {error.strerror}", str(path), "name one with --lock") from error
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return tuple(_pin(line, path) for line in map(str.strip, lines) if line and not line.startswith("#"))


def _pin(line: str, path: Path) -> Pin:
    match = _LINE.fullmatch(line)
    if not match:
        raise Refusal(f"{line!r} is no pin", str(path), "write name==version --hash=sha256:… for one sdist")
    return Pin(canonicalize_name(match["name"]), match["version"], match["digest"])
