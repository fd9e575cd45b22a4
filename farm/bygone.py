"""Executors that went long ago, and the orders that bought them, are forgotten when nothing is told of them any more.

Their bill stays. Of an executor on which an attempt ran that is still there nothing goes.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, select

from farm import tables as t
from farm.db import Database
from farm.forgetting import say
from farm.listings import Listing
from farm.model import ExecutorState, OrderState
from farm.tables import AnyRow

GROUP = 500  # rows of one transaction

_GONE: tuple[Any, ...] = (
    t.Executor.state.in_([ExecutorState.GONE, ExecutorState.LOST]),
    t.Executor.closed,
    t.Executor.ended < bindparam("cut", type_=t.Utc()),
    ~exists().where(t.Attempt.executor == t.Executor.id),
    ~exists().where(t.Ending.executor == t.Executor.id),
)
_NEXT = (
    select(t.Executor.id, t.Executor.pool)
    .where(t.Executor.id > bindparam("last"), *_GONE)
    .order_by(t.Executor.id)
    .limit(bindparam("most"))
)
_FORGET = delete(t.Executor).where(t.Executor.id.in_(bindparam("ids", expanding=True)), *_GONE)
_BOUGHT_NOTHING: tuple[Any, ...] = (
    t.Order.state != OrderState.OPEN,
    t.Order.created < bindparam("cut", type_=t.Utc()),
    t.Order.token.not_in(select(t.Executor.order)),
)
_SOME = select(t.Order.token).where(*_BOUGHT_NOTHING).limit(bindparam("most"))
_FORGET_ORDERS = delete(t.Order).where(t.Order.token.in_(_SOME))


def forget(
    database: Database, cut: datetime, listing: Mapping[str, Listing], pools: Collection[str], dry: bool = False
) -> int:
    """How many executors went that ended before `cut`, or would; with them the orders that bought no other.

    Who is still in the books of its pool's provider stays, as do all of those of `pools` whose books are not known.
    """
    last, gone = "", 0
    listed = {machine.id for found in listing.values() for machine in found.machines}
    while rows := _next(database, cut, last):
        ids = [row.id for row in rows if row.id not in listed and (row.pool in listing or row.pool not in pools)]
        gone += len(ids) if dry else _forget(database, cut, ids)
        last = rows[-1].id
    if not dry:
        _forget_orders(database, cut)
    return gone


def _next(database: Database, cut: datetime, last: str) -> Sequence[AnyRow]:
    with database.read() as tx:
        return tx.execute(_NEXT, {"cut": cut, "last": last, "most": GROUP}).all()


def _forget(database: Database, cut: datetime, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    say(database, cut)
    with database.write() as tx:
        return tx.execute(_FORGET, {"ids": ids, "cut": cut}).rowcount


def _forget_orders(database: Database, cut: datetime) -> None:
    while True:
        with database.write() as tx:
            if tx.execute(_FORGET_ORDERS, {"cut": cut, "most": GROUP}).rowcount < GROUP:
                return
