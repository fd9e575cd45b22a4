"""How long something took that has not run for long is forgotten: names come and go, and nobody asks for most again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from farm import tables as t
from farm.db import Database

GROUP = 1000  # rows of one transaction

_WHATS: Any = bindparam("whats", expanding=True)
_MOVED = t.Duration.noticed.is_distinct_from(t.Duration.samples)
_OLD = (~_MOVED, t.Duration.at < bindparam("cut", type_=t.Utc()))
_LISTED = (
    select(t.Duration.what)
    .where(t.Duration.what > bindparam("last"))
    .order_by(t.Duration.what)
    .limit(bindparam("most"))
)
_NEWS, _AGED = _LISTED.where(_MOVED), _LISTED.where(*_OLD)
_NOTICE = (
    update(t.Duration)
    .where(t.Duration.what.in_(_WHATS))
    .values(noticed=t.Duration.samples, at=bindparam("now", type_=t.Utc()))
)
_FORGET = delete(t.Duration).where(t.Duration.what.in_(_WHATS), *_OLD)
_COUNT = select(func.count()).where(*_OLD)


def notice(database: Database, now: datetime) -> None:
    """Those of which more was learned since the last time are of `now`. Learning itself writes no time: it is done at
    every end of a task, and this once a day."""
    last = ""
    while whats := _next(database, last, _NEWS, {}):
        with database.write() as tx:
            tx.execute(_NOTICE, {"whats": whats, "now": now})
        last = whats[-1]


def forget(database: Database, cut: datetime, dry: bool = False) -> int:
    """How many went of which nothing was learned since `cut`, as far as `notice` knows; or would."""
    if dry:
        with database.read() as tx:
            return int(tx.execute(_COUNT, {"cut": cut}).scalar_one())
    last, gone = "", 0
    while whats := _next(database, last, _AGED, {"cut": cut}):
        with database.write() as tx:
            gone += tx.execute(_FORGET, {"whats": whats, "cut": cut}).rowcount
        last = whats[-1]
    return gone


def _next(database: Database, last: str, query: Any, about: dict[str, Any]) -> Sequence[str]:
    with database.read() as tx:
        found: Sequence[str] = tx.execute(query, {"last": last, "most": GROUP, **about}).scalars().all()
    return found
