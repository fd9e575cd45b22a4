"""Executors in the database: placed, ready, draining, gone, lost. Every move is conditional on where it starts."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, case, insert, select, update

from executors.contract import Machine
from farm import tables as t
from farm.model import ExecutorState
from farm.queue import endings, settle
from farm.tables import AnyRow
from schedules.learning import Boots, booted

WENT = "it was told on its own machine to go"
ALIVE = (ExecutorState.BOOTING, ExecutorState.READY, ExecutorState.DRAINING)

_INSERT = insert(t.Executor)
_EXISTS = select(t.Executor.id).where(t.Executor.id == bindparam("e"))
_READY = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.state == ExecutorState.BOOTING)
    .values(state=ExecutorState.READY, ready=bindparam("at"), idle_since=bindparam("at"))
    .returning(t.Executor.pool, t.Executor.ordered)
)
_DRAIN = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.state.in_([ExecutorState.READY, ExecutorState.BOOTING]))
    .values(state=ExecutorState.DRAINING, draining=bindparam("at"), why=bindparam("w"))
)
_STOPPING = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.stopping.is_(None))
    .values(stopping=bindparam("at"))
)
_NOT_BEFORE_BILLED = case(  # a clock that was set back must not make its life shorter than its bill
    (t.Executor.billed_until > bindparam("at", type_=t.Utc()), t.Executor.billed_until),
    else_=bindparam("at", type_=t.Utc()),
)
_END = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"), t.Executor.state.in_(ALIVE))
    .values(state=bindparam("to"), ended=_NOT_BEFORE_BILLED, why=bindparam("w"), idle_since=None)
)
_SAID = update(t.Executor).where(t.Executor.id == bindparam("e"), t.Executor.why == WENT).values(why=bindparam("w"))
_SINCE_NOW = tuple(
    update(t.Executor).where(t.Executor.state.in_(ALIVE), column > bindparam("at")).values({column: bindparam("at")})
    for column in (t.Executor.ordered, t.Executor.idle_since, t.Executor.stopping)
)
_LAUNCHED_NOW = (  # nothing of its bill is written yet
    update(t.Executor)
    .where(t.Executor.state.in_(ALIVE), t.Executor.launched > bindparam("at"))
    .where(t.Executor.billed_until == t.Executor.launched)
    .values(launched=bindparam("at"), billed_until=bindparam("at"))
)
_ALIVE = select(t.Executor).where(t.Executor.state.in_(ALIVE)).order_by(t.Executor.ordered, t.Executor.id)
_STATE = select(t.Executor.state, t.Executor.why).where(t.Executor.id == bindparam("e"))
_FACT = select(
    t.PoolFact.boots,
    t.PoolFact.boot_s,
    t.PoolFact.boot_p95_s,
    t.PoolFact.failures,
    t.PoolFact.breaker_until,
    t.PoolFact.error,
).where(t.PoolFact.name == bindparam("p"))
_ADD_FACT = insert(t.PoolFact)
_LEARN = (
    update(t.PoolFact)
    .where(t.PoolFact.name == bindparam("p"))
    .values(boots=bindparam("n"), boot_s=bindparam("m"), boot_p95_s=bindparam("q"), failures=0, error="")
)


class PoolFact(NamedTuple):
    """What is known of a pool; of a new one nothing is."""

    boots: int = 0
    boot_s: float = 0.0
    boot_p95_s: float = 0.0
    failures: int = 0
    breaker_until: datetime | None = None
    error: str = ""


def alive(tx: Connection) -> Sequence[AnyRow]:
    return tx.execute(_ALIVE).all()


def place(
    tx: Connection,
    machines: Sequence[Machine],
    order: AnyRow,
    site: Callable[[Machine], str],
    price_nano: int,
    now: datetime,
    offers: Callable[[int], Sequence[str]] = lambda n: [""] * n,
) -> list[str]:
    """Rows for machines that an order bought; the new ones' ids. `offers`: what so many new ones have beside slots."""
    fresh = [m for m in machines if tx.execute(_EXISTS, {"e": m.id}).first() is None]
    if fresh:
        rows = [_placed_row(m, order, site(m), price_nano, now) for m in fresh]
        have = offers(len(fresh))
        tx.execute(_INSERT, [{**row, "offer": offer} for row, offer in zip(rows, have, strict=True)])
    return [m.id for m in fresh]


def _placed_row(machine: Machine, order: AnyRow, site: str, price_nano: int, now: datetime) -> dict[str, object]:
    """A provider whose clock is not ours can't have launched it before we ordered it, nor later than now."""
    launched = min(max(machine.launched_at, order.created), max(now, order.created))
    return {
        "id": machine.id,
        "order": order.token,
        "pool": order.pool,
        "site": site,
        "state": ExecutorState.BOOTING,
        "slots": machine.slots,
        "price_nano": price_nano,
        "why": f"{order.why}{_smaller(machine, order)}",
        "job": order.job,
        "ordered": order.created,
        "launched": launched,
        "billed_until": launched,
    }


def _smaller(machine: Machine, order: AnyRow) -> str:
    return f"; it has {machine.slots} of {order.slots} slots" if machine.slots < order.slots else ""


def ready(tx: Connection, executors: Sequence[str], now: datetime) -> bool:
    """They can take work; whether any of them could not before. Teaches the pool's boot time."""
    moved = False
    for executor in executors:
        row = tx.execute(_READY, {"e": executor, "at": now}).one_or_none()
        if row is not None:
            moved = True
            learn_boot(tx, row.pool, (now - row.ordered).total_seconds())
    return moved


def learn_boot(tx: Connection, pool: str, seconds: float) -> None:
    fact = pool_row(tx, pool)
    known = booted(Boots(fact.boots, fact.boot_s, fact.boot_p95_s), seconds)
    tx.execute(_LEARN, {"p": pool, "n": known.seen, "m": known.mean, "q": known.high})


def pool_fact(tx: Connection, pool: str) -> PoolFact:
    """Asked in transactions that only read, too: of a pool without a row nothing is written."""
    row = tx.execute(_FACT, {"p": pool}).one_or_none()
    return PoolFact(*row) if row is not None else PoolFact()


def pool_row(tx: Connection, pool: str) -> PoolFact:
    """The same, with a row for what is learned next."""
    row = tx.execute(_FACT, {"p": pool}).one_or_none()
    if row is None:
        tx.execute(_ADD_FACT, {"name": pool})
    return PoolFact(*row) if row is not None else PoolFact()


def drain(tx: Connection, executor: str, why: str, now: datetime) -> bool:
    """No more work for it."""
    return bool(tx.execute(_DRAIN, {"e": executor, "w": why, "at": now}).rowcount)


def stopping(tx: Connection, executor: str, now: datetime) -> bool:
    """It is told to go; True the first time."""
    return bool(tx.execute(_STOPPING, {"e": executor, "at": now}).rowcount)


def not_after(tx: Connection, now: datetime) -> None:
    """What living executors do since an instant that is still to come, they do since now."""
    for statement in (*_SINCE_NOW, _LAUNCHED_NOW):
        tx.execute(statement, {"at": now})


def lost(tx: Connection, executor: str, why: str, now: datetime) -> settle.Settled | None:
    """It vanished: its attempts are requeued. None when that is known already."""
    row = tx.execute(_STATE, {"e": executor}).one_or_none()
    if row is None or row.state not in ALIVE:
        return None
    endings.of_executor(tx, executor, now)
    settled = settle.lose(tx, executor, f"executor {executor}: {why}", now)
    as_told = row.state == ExecutorState.DRAINING and not settled.freed  # it went for the reason it drained for
    to, said = (ExecutorState.GONE, row.why) if as_told else (ExecutorState.LOST, why)
    tx.execute(_END, {"e": executor, "to": to, "w": said, "at": now})
    return settled


def said(tx: Connection, executor: str, why: str) -> None:
    """Its provider knows more of why it went by its own wish."""
    tx.execute(_SAID, {"e": executor, "w": why})


def ended(tx: Connection, executor: str, why: str, now: datetime) -> settle.Settled:
    """We ended it ourselves: gone, and its attempts go back uncharged."""
    endings.of_executor(tx, executor, now)
    settled = settle.lose(tx, executor, why, now, charged=False)
    tx.execute(_END, {"e": executor, "to": ExecutorState.GONE, "w": why, "at": now})
    return settled
