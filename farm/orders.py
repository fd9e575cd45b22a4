"""Orders in the books: written before a provider hears of them, moved by what it said."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, text, update

from executors.contract import Order
from farm import tables as t
from farm.model import OrderState
from farm.tables import AnyRow
from schedules.model import Launch

RETRY = timedelta(seconds=5)

_INSERT = insert(t.Order)
_OPEN = select(t.Order).where(t.Order.state == OrderState.OPEN).order_by(t.Order.created, t.Order.token)
_MOVE = (
    update(t.Order)
    .where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
    .values(state=bindparam("to"), error=bindparam("e"))
)
_LATER = (
    update(t.Order)
    .where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
    .values(not_before=bindparam("at"), error=bindparam("e"))
)
_NOT_LATER = (
    update(t.Order)
    .where(t.Order.state == OrderState.OPEN, t.Order.not_before > bindparam("limit"))
    .values(not_before=bindparam("at"))
)
_SHRINK = (
    update(t.Order)
    .where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
    .values(machines=t.Order.machines - 1)
    .returning(t.Order.machines)
)
_FIND = select(t.Order).where(t.Order.token == bindparam("k"))
_WAITING = (
    select(t.Task.number)
    .where(t.Task.lane == t.Step.lane, t.Task.owner == t.Step.owner)  # along an index
    .where(t.Task.job == t.Step.job, t.Task.step == t.Step.ordinal)
)
_WAIT = (
    _WAITING.where(text(f"{t.TASK_WAITS} AND task.needs = ''")).exists(),
    _WAITING.where(text(f"{t.TASK_WAITS} AND task.needs <> ''"), t.Task.needs == t.Step.needs).exists(),
)
_LEAST = (
    select(func.min(t.Step.slots))
    .where(t.Step.job == bindparam("j"), t.Step.state == "ready")
    .where(or_(t.Step.next + t.Step.early < t.Step.total, *_WAIT))  # what runs already needs no executor
)


def write(tx: Connection, launches: Iterable[Launch], now: datetime) -> None:
    rows = [_row(launch, now) for launch in launches]
    if rows:
        tx.execute(_INSERT, rows)


def _row(launch: Launch, now: datetime) -> dict[str, Any]:
    return {
        "token": secrets.token_hex(4),
        "pool": launch.pool,
        "machines": launch.count,
        "slots": launch.slots,
        "state": OrderState.OPEN,
        "why": launch.why,
        "job": int(launch.who) if launch.who.isdigit() else None,
        "created": now,
        "not_before": now,
    }


def find(tx: Connection, token: str) -> AnyRow | None:
    return tx.execute(_FIND, {"k": token}).one_or_none()


def due(tx: Connection, now: datetime) -> list[tuple[AnyRow, Order]]:
    """Open ones whose time has come, with what their providers are asked for."""
    return [(row, _asked(tx, row)) for row in tx.execute(_OPEN).all() if row.not_before <= now]


def _asked(tx: Connection, row: AnyRow) -> Order:
    """An executor that is smaller than its pool's is of use where a task of the job fits into it."""
    least = tx.execute(_LEAST, {"j": row.job}).scalar_one_or_none() if row.job else 1
    return Order(row.token, row.pool, row.machines, row.slots, min(least or row.slots, row.slots))


def move(tx: Connection, token: str, to: OrderState, error: str) -> None:
    tx.execute(_MOVE, {"k": token, "to": to, "e": error})


def later(tx: Connection, token: str, now: datetime, error: str) -> None:
    """It is tried again in a moment."""
    tx.execute(_LATER, {"k": token, "at": now + RETRY, "e": error})


def not_after(tx: Connection, now: datetime) -> None:
    """No order is to be tried again later than it could have been told to."""
    tx.execute(_NOT_LATER, {"at": now, "limit": now + RETRY})


def less(tx: Connection, executor: str, why: str) -> None:
    """It was ordered and is not wanted any more. What the provider has sold meanwhile is adopted when it is listed."""
    token = executor.rpartition("-")[0]
    if tx.execute(_SHRINK, {"k": token}).scalar_one_or_none() == 0:
        move(tx, token, OrderState.CLOSED, why)
