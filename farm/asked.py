"""What comes under a key of its own is carried out once, however often it is asked: an answer may be lost."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from farm import tables as t
from farm.refusal import Conflict

if TYPE_CHECKING:
    from farm.context import Farm

KEPT = timedelta(days=2)
Note = Callable[[Connection, Mapping[str, Any]], None]
"""To be called with the answer, in the transaction that carries the request out."""

_ONE = select(t.Asked).where(t.Asked.key == bindparam("k"))
_ADD = insert(t.Asked)
_FORGET = delete(t.Asked).where(t.Asked.at < bindparam("before"))
_LOCKS = tuple(threading.Lock() for _ in range(64))  # the same key twice at once: the second waits for the first


def once(farm: "Farm", who: str, key: str, request: str, act: Callable[[Note], dict[str, Any]]) -> dict[str, Any]:
    """What `act` answers, or answered when `who` asked this before under this key; without a key it always acts.

    Raises Conflict when something else was asked under it.
    """
    if not key:
        return act(lambda _tx, _answer: None)
    name, asked = _sha256(f"{who}\0{key}"), _sha256(request)
    with _LOCKS[int(name[:4], 16) % len(_LOCKS)]:
        if (known := _told(farm, name, asked)) is not None:
            return known
        try:
            return act(lambda tx, answer: _keep(farm, tx, {"key": name, "request": asked, "answer": dict(answer)}))
        except IntegrityError:  # another process that serves the same database was quicker
            if (known := _told(farm, name, asked)) is None:
                raise
            return known


def _told(farm: "Farm", name: str, asked: str) -> dict[str, Any] | None:
    with farm.db.read() as tx:
        row = tx.execute(_ONE, {"k": name}).first()
    if row is None:
        return None
    if row.request != asked:
        raise Conflict("something else was asked under this key before", "Idempotency-Key", "choose a new key")
    return dict(row.answer)


def _keep(farm: "Farm", tx: Connection, row: dict[str, Any]) -> None:
    now = farm.clock.now()
    tx.execute(_FORGET, {"before": now - KEPT})
    tx.execute(_ADD, {**row, "at": now})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
