"""One statement of PostgreSQL's for many rows: its values come as an array for each column.

A statement for each row costs the server and us a hundred microseconds, however many go in one call.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_GIVEN = re.compile(r"%\((\w+)\)s(?:::(?:DOUBLE PRECISION|[A-Z]+))?")
_INSERT = re.compile(r"(INSERT INTO .+?\)) VALUES \((.*)\)", re.DOTALL)
_CHANGE = re.compile(r"(UPDATE .+?|DELETE FROM \S+)( WHERE .*)", re.DOTALL)


class Unnested(NamedTuple):
    """`text` takes an array, as PostgreSQL writes it, for each of `columns`, and what is the same for all rows as it
    is."""

    text: str
    columns: tuple[str, ...]


def unnested(text: str, types: Mapping[str, str]) -> Unnested | None:
    """The same for many rows; None where that is not known. Each row has its own of those in `types`."""
    own = _GIVEN.sub(lambda found: f"v.v_{found[1]}" if found[1] in types else found[0], text)
    if not types or not all(types.values()):
        return None
    arrays = ", ".join(f"%({name})s::{type_}[]" for name, type_ in types.items())
    made = _over(own, f"unnest({arrays}) AS v({', '.join(f'v_{name}' for name in types)})")
    return Unnested(made, tuple(types)) if made else None


def _over(own: str, values: str) -> str:
    if found := _INSERT.fullmatch(own):
        return f"{found[1]} SELECT {found[2]} FROM {values}"
    if (found := _CHANGE.fullmatch(own)) and own.count(" WHERE ") == 1:
        return f"{found[1]} {'USING' if own.startswith('DELETE') else 'FROM'} {values}{found[2]}"
    return ""


@lru_cache(maxsize=500)
def joined(texts: tuple[str, ...]) -> str:
    """One statement of several, which answers how many rows each changed. Their parameters are `p0_…`, `p1_…` …"""
    own = (text.replace("%(", f"%(p{n}_") for n, text in enumerate(texts))
    parts = ", ".join(f"c{n} AS ({text} RETURNING 1)" for n, text in enumerate(own))
    return f"WITH {parts} SELECT {', '.join(f'(SELECT count(*) FROM c{n})' for n in range(len(texts)))}"


def array(values: Sequence[Any]) -> str:
    """As PostgreSQL reads one."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value.obj)  # psycopg's wrapper of what is JSON
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
