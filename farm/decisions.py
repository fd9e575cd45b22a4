"""What the policy saw and what it decided, kept for months: only when the decision changed, and then what is new.

Of every so many rows one is whole; the others say which parts of that one they have, and what is different.
"""

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, bindparam, insert, select

from farm import tables as t
from farm.db import after_commit
from farm.tables import AnyRow
from schedules.model import Decision, Drain, Launch, Retire, Snapshot, Unmet

WHOLE_EVERY = timedelta(hours=12)  # those that lean on a row are never much older than it, so that both go together
WHOLE_AFTER = 500  # rows
_SEAM = re.compile(r"(?<=\}),(?=\{)")  # between two things of a list; inside a text it does no harm
_WINDOW = 32_000  # bytes that a packer looks back
_KINDS = {"Launch": Launch, "Drain": Drain, "Retire": Retire}

_INSERT = insert(t.DecisionRow).returning(t.DecisionRow.id)
_FIND = select(t.DecisionRow).where(t.DecisionRow.id == bindparam("i"))
_LAST = select(t.DecisionRow).order_by(t.DecisionRow.id.desc()).limit(bindparam("n"))


class Kept(NamedTuple):
    """`seen`: the snapshot as JSON; None where what it leans on is gone already."""

    id: int
    at: datetime
    seen: Mapping[str, Any] | None
    decision: Mapping[str, Any]


@dataclass(slots=True)
class _Whole:
    """A row that others lean on."""

    id: int
    at: datetime
    text: bytes
    parts: list[str]
    size: int  # bytes, packed
    rows: int = 0


@dataclass(slots=True)
class Archive:
    """Where the wheel keeps its decisions."""

    _whole: _Whole | None = field(default=None)

    def keep(self, tx: Connection, seen: Snapshot, decision: Decision) -> None:
        text, told = _text(seen), plain(decision)
        parts, whole = _SEAM.split(text), self._whole
        if whole is not None and abs(seen.now - whole.at) < WHOLE_EVERY and whole.rows < WHOLE_AFTER:
            packed = _pack(_json([told, _delta(whole.parts, parts)]), whole.text)
            if len(packed) * 2 < whole.size:
                whole.rows += 1
                tx.execute(_INSERT, _row(seen.now, packed, whole.id))
                return
        raw = _json([told, parts])
        packed = _pack(raw)
        made = tx.execute(_INSERT, _row(seen.now, packed, None)).scalar_one()
        found = _Whole(made, seen.now, raw, parts, len(packed))
        after_commit(tx, lambda: self._leans_on(found))  # none leans on what was rolled back

    def _leans_on(self, whole: _Whole) -> None:
        self._whole = whole


def last(tx: Connection, count: int) -> list[Kept]:
    """The newest first."""
    return [_kept(tx, row) for row in tx.execute(_LAST, {"n": count})]


def find(tx: Connection, number: int) -> Kept | None:
    row = tx.execute(_FIND, {"i": number}).one_or_none()
    return None if row is None else _kept(tx, row)


def decided(kept: Mapping[str, Any]) -> Decision:
    """A decision from JSON."""
    kinds = kept.get("kinds", ())
    actions = tuple(_KINDS[kind](**action) for kind, action in zip(kinds, kept.get("actions", ()), strict=True))
    unmet = (Unmet(**{**each, "obstacles": tuple(each.get("obstacles", ()))}) for each in kept.get("unmet", ()))
    look = kept.get("look_again")
    return Decision(actions, datetime.fromisoformat(look) if look else None, tuple(unmet), tuple(kept.get("notes", ())))


def snapshot(seen: Mapping[str, Any]) -> Snapshot:
    """A snapshot from JSON: the policy decides by it what it decided then. Raises ValueError."""
    from pydantic import TypeAdapter

    return TypeAdapter(Snapshot).validate_python(seen)


def plain(value: Any) -> Any:
    """A dataclass of the policy as JSON; `schedules` itself knows no serialisation."""
    kinds = {"kinds": [type(a).__name__ for a in value.actions]} if isinstance(value, Decision) else {}
    return json.loads(json.dumps(_jsonable(value) | kinds, default=_jsonable))


def _text(seen: Snapshot) -> str:
    return json.dumps(seen, default=_jsonable, separators=(",", ":"))


def _jsonable(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _row(at: datetime, packed: bytes, base: int | None) -> dict[str, Any]:
    return {"at": at, "snapshot": {}, "decision": {}, "base": base, "packed": packed}


# ── what is new ──


def _delta(base: Sequence[str], parts: Sequence[str]) -> list[Any]:
    """Parts of the base as [from, how many], others as they are."""
    place = {part: n for n, part in reversed([*enumerate(base)])}
    found = list[Any]()
    for part in parts:
        at = place.get(part)
        if at is None:
            found.append(part)
        elif found and isinstance(found[-1], list) and sum(found[-1]) == at:
            found[-1][1] += 1
        else:
            found.append([at, 1])
    return found


def _undone(base: Sequence[str], delta: Sequence[Any]) -> list[str]:
    parts = list[str]()
    for each in delta:
        parts += [each] if isinstance(each, str) else base[each[0] : each[0] + each[1]]
    return parts


def _pack(raw: bytes, like: bytes = b"") -> bytes:
    packer = zlib.compressobj(9, zdict=like[-_WINDOW:]) if like else zlib.compressobj(9)
    return packer.compress(raw) + packer.flush()


def _unpack(packed: bytes, like: bytes = b"") -> bytes:
    unpacker = zlib.decompressobj(zdict=like[-_WINDOW:]) if like else zlib.decompressobj()
    return unpacker.decompress(packed) + unpacker.flush()


def _kept(tx: Connection, row: AnyRow) -> Kept:
    if row.packed is None:  # of a farm before this one
        return Kept(row.id, row.at, row.snapshot, row.decision)
    if row.base is None:
        told, parts = json.loads(_unpack(row.packed))
        return Kept(row.id, row.at, _seen(parts), told)
    base = tx.execute(_FIND, {"i": row.base}).one_or_none()
    if base is None:
        return Kept(row.id, row.at, None, {})
    raw = _unpack(base.packed)
    told, delta = json.loads(_unpack(row.packed, raw))
    return Kept(row.id, row.at, _seen(_undone(json.loads(raw)[1], delta)), told)


def _seen(parts: Sequence[str]) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], json.loads(",".join(parts)))
