"""How much of each budget is spent: what the ledger says since its period began, read once and then row by row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

from sqlalchemy import Connection, bindparam, func, select

from farm import tables as t
from farm.config import FarmConfig
from farm.config_budget import BudgetConfig
from farm.fleet import pool_fact
from farm.ledger import NANO
from farm.model import ExecutorState, OrderState
from farm.tables import AnyRow
from schedules.budgets import idling
from schedules.model import Budget

_LAST = select(func.coalesce(func.max(t.Ledger.id), 0))
_SINCE = (
    select(t.Ledger.owner, t.Job.lane, func.sum(t.Ledger.cost_nano).label("cost"))
    .outerjoin(t.Job, t.Job.id == t.Ledger.job)
    .where(t.Ledger.until > bindparam("since", type_=t.Utc()), t.Ledger.id > bindparam("last"))
    .where(t.Ledger.id <= bindparam("upto"))
    .group_by(t.Ledger.owner, t.Job.lane)
)
_PAID_FOR = select(t.Executor).where(t.Executor.closed.is_(False))  # also what has ended and is not booked yet
_AT_WORK = (
    select(t.BY_EXECUTOR, func.max(t.Attempt.job).label("job"))
    .where(t.Attempt.finished.is_(None))
    .group_by(t.BY_EXECUTOR)
)
_JOBS = select(t.Job.id, t.Job.owner, t.Job.lane).where(t.Job.id.in_(bindparam("ids", expanding=True)))
_ORDERED = select(t.Order.pool, t.Order.machines, t.Order.job).where(t.Order.state == OrderState.OPEN)
HOUR_S = Decimal(3600)
Times = Callable[[str], tuple[timedelta, timedelta]]
"""Pool → how long its machines boot, and idle before they go."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Nano-units since the period began, in the rows of the ledger up to `last`."""

    since: datetime
    nano: int = 0
    last: int = 0


@dataclass(slots=True)
class Spending:
    """`now`: as it was told last, for whoever explains."""

    now: tuple[Budget, ...] = ()
    _sums: dict[str, Sum] = field(default_factory=dict)

    def told(self, tx: Connection, config: FarmConfig, now: datetime) -> tuple[Budget, ...]:
        """All budgets of farm.toml as they are now. What is bound is what machines that are there, or on their way, for
        such work cost though nothing more began: the rest of a boot, and idling until they go."""
        if not config.budgets:
            return ()
        upto, bound = tx.execute(_LAST).scalar_one(), _bound(tx, config, now)
        found = []
        for name, budget in config.budgets.items():
            since, until = budget.span(now)
            self._sums[name] = _more(tx, self._sums.get(name), budget, since, upto)
            spent = Decimal(self._sums[name].nano) / NANO
            tied = sum((cost for who, cost in bound.items() if _pays(budget, *who)), Decimal(0))
            found.append(Budget(name, budget.amount, spent, tied, budget.owner, budget.lane, until))
        self.now = tuple(found)
        return self.now


def _more(tx: Connection, known: Sum | None, budget: BudgetConfig, since: datetime, upto: int) -> Sum:
    if known is None or known.since != since or known.last > upto:
        known = Sum(since)
    if known.last == upto:
        return known
    rows = tx.execute(_SINCE, {"since": since, "last": known.last, "upto": upto})
    more = sum(int(row.cost) for row in rows if _pays(budget, row.owner, row.lane or ""))
    return Sum(since, known.nano + more, upto)


def _pays(budget: BudgetConfig, owner: str, lane: str) -> bool:
    return budget.owner in ("", owner) and budget.lane in ("", lane)


def _bound(tx: Connection, config: FarmConfig, now: datetime) -> Mapping[tuple[str, str], Decimal]:
    """(owner, lane) → what the machines that work for it, did so last or were ordered for it cost from now on."""
    times = cache(lambda pool: _times(tx, config, pool))
    at_work = {row.executor: row.job for row in tx.execute(_AT_WORK)}
    costs = [(row.job, row.machines * _new(times, config, row.pool)) for row in tx.execute(_ORDERED).all()]
    for row in tx.execute(_PAID_FOR).all():
        costs.append((at_work.get(row.id, row.job), _rest(times, config, row, now) * row.price_nano / NANO))
    jobs = {row.id: (row.owner, row.lane) for row in tx.execute(_JOBS, {"ids": [job for job, _ in costs if job]})}
    found: dict[tuple[str, str], Decimal] = {}
    for job, cost in costs:
        if who := jobs.get(job):
            found[who] = found.get(who, Decimal(0)) + cost
    return found


def _rest(times: Times, config: FarmConfig, row: AnyRow, now: datetime) -> Decimal:
    """Hours that it is paid for, were nothing handed out any more; with those that are not booked yet."""
    if row.ended is not None:
        return Decimal(max(timedelta(), row.ended - row.billed_until).total_seconds()) / HOUR_S
    boot, kept = times(row.pool)
    age, least = now - row.launched, config.pools[row.pool].min_bill if row.pool in config.pools else timedelta()
    rest = kept if row.state != ExecutorState.BOOTING else max(timedelta(), boot - age) + kept
    return Decimal((max(rest, least - age) + max(timedelta(), now - row.billed_until)).total_seconds()) / HOUR_S


def _new(times: Times, config: FarmConfig, pool: str) -> Decimal:
    """What one that is ordered costs without any work."""
    if pool not in config.pools:
        return Decimal(0)
    boot, kept = times(pool)
    span = max(boot + kept, config.pools[pool].min_bill)
    return config.pools[pool].price_per_hour * Decimal(span.total_seconds()) / HOUR_S


def _times(tx: Connection, config: FarmConfig, name: str) -> tuple[timedelta, timedelta]:
    pool, fact = config.pools.get(name), pool_fact(tx, name)
    boot = timedelta(seconds=fact.boot_s) if fact.boots or pool is None else pool.boot
    return boot, idling(pool.idle if pool is not None else None, boot)
