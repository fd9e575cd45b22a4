"""Where in the text of a TOML file a key stands."""

import re
from collections.abc import Iterator, Sequence

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_ENTRY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")

Path = tuple[str | int, ...]


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, from 1, of the key at `path` (tables of an array by number), else of what it would stand in; 0: none.

    Read line by line: a text of several lines that looks like keys can mislead it, and nothing worse happens.
    """
    wanted = tuple(path)
    best, found = 0, 0
    for number, place in _places(text):
        same = len(place) if place == wanted[: len(place)] else 0
        if same > best:
            best, found = same, number
    return found


def _places(text: str) -> Iterator[tuple[int, Path]]:
    """(line, path) of every header and every key."""
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = _table(header[1], _names(header[2]), counts)
            yield number, table
        elif entry := _ENTRY.match(line):
            yield number, table + _names(entry[1])


def _names(text: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _table(brackets: str, names: Path, counts: dict[Path, int]) -> Path:
    """The path of a table; below an array of tables the last one of it is meant."""
    out: Path = ()
    for place, name in enumerate(names, 1):
        out = (*out, name)
        if brackets == "[[" and place == len(names):
            counts[out] = counts.get(out, -1) + 1
        if out in counts:
            out = (*out, counts[out])
    return out
