"""The farm as the policy sees it: like work aggregated, executors with what they do, pools with what is known."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from json import loads
from typing import Any

from sqlalchemy import Connection, String, and_, bindparam, cast, func, select
from sqlalchemy import text as sql

from farm import tables as t
from farm.config import FarmConfig, PoolConfig
from farm.dispatch import kept
from farm.fleet import alive, pool_fact
from farm.model import AttemptState, JobState, OrderState
from farm.offers import of_pool
from farm.queue import endings, holds
from farm.queue.holds import Held
from farm.queue.licence import uses
from farm.queue.needs import given_of, held_of, needs_of
from farm.queue.predict import sane
from farm.queue.room import Kept
from farm.tables import AnyRow
from schedules.demand import expected_end
from schedules.licences import Uses
from schedules.model import Budget, Busy, Demand, Executor, Pool, Snapshot, Waiting
from schedules.needs import PLAIN
from schedules.reserve import Allowed, allowed
from schedules.windows import closed_lanes, hours, near

_OPEN_JOBS = (JobState.QUEUED, JobState.RUNNING)
_ACTIVE = (AttemptState.CLAIMED, AttemptState.STARTED)
_ROWS = 500  # groups of like work that a snapshot carries: the earliest due ones

_NOT_HELD = and_(
    t.Job.lane.not_in(select(t.Hold.name).where(t.Hold.kind == "lane")),
    t.Job.lane.not_in(bindparam("shut", expanding=True)),  # by the windows that are open now
)
_ARRAYS = (
    select(t.Step.job, t.Step.due, t.Step.predicted_s, t.Step.slots, t.Job.lane, t.Job.submitted, t.Job.owner)
    .add_columns((t.Step.total - t.Step.next - t.Step.early).label("waiting"), t.Step.licences, t.Step.needs)
    .join(t.Job, t.Job.id == t.Step.job)
    .where(sql(t.STEP_WAITS), t.Step.next + t.Step.early < t.Step.total, t.Job.state.in_(_OPEN_JOBS))
    .where(_NOT_HELD)
    .order_by(t.Step.due)
    .limit(_ROWS)
)
_LICENCES = cast(t.Step.licences, String)  # JSON has no equality on PostgreSQL
_TASKS = (
    select(t.Task.job, t.Step.predicted_s, t.Step.slots, t.Job.lane, t.Job.submitted, t.Job.owner)
    .add_columns(func.min(t.Task.due).label("due"), func.count().label("waiting"))
    .add_columns(_LICENCES.label("licences"), t.Step.needs)
    .join(t.Step, (t.Step.job == t.Task.job) & (t.Step.ordinal == t.Task.step))
    .join(t.Job, t.Job.id == t.Task.job)
    .where(sql(t.TASK_WAITS), sql(t.TASK_OPEN), t.Job.state.in_(_OPEN_JOBS))  # the second for SQLite, to use its index
    .where(t.Task.not_before.is_(None) | (t.Task.not_before <= bindparam("now", type_=t.Utc())), _NOT_HELD)
    .group_by(t.Task.job, t.Step.predicted_s, t.Step.slots, t.Job.lane, t.Job.submitted, t.Job.owner)
    .group_by(_LICENCES, t.Step.needs)
    .order_by(func.min(t.Task.due))
    .limit(_ROWS)
)
_RUNNING = (
    select(t.BY_EXECUTOR, t.Attempt.started, t.Attempt.slots, t.Attempt.given, t.Step.predicted_s, t.Job.lane)
    .add_columns(func.min(t.Attempt.claimed).label("claimed"), func.count().label("attempts"))
    .join(t.Task, (t.Task.job == t.Attempt.job) & (t.Task.number == t.Attempt.number))
    .join(t.Step, (t.Step.job == t.Task.job) & (t.Step.ordinal == t.Task.step))
    .join(t.Job, t.Job.id == t.Attempt.job)
    .where(t.Attempt.finished.is_(None), t.Attempt.state.in_(_ACTIVE))
    .group_by(t.BY_EXECUTOR, t.Attempt.started, t.Attempt.slots, t.Attempt.given, t.Step.predicted_s, t.Job.lane)
)
_ORDERS = select(t.Order).where(t.Order.state == OrderState.OPEN)


def observe(
    tx: Connection, config: FarmConfig, now: datetime, open_at: datetime | None = None, budgets: tuple[Budget, ...] = ()
) -> Snapshot:
    """Everything the policy may know, from the database alone; with what waits in the lanes open then, else now."""
    running, leaving = tx.execute(_RUNNING).all(), tuple(_leaving(row, now) for row in endings.given(tx))
    taken: dict[str, int] = {}
    for row in running:
        taken[row.executor] = taken.get(row.executor, 0) + row.slots * row.attempts
    shut = closed_lanes(config.windows(), config.all_lanes(), open_at or now)
    demand = _waits(tx, config, now, shut)
    executors = [_executor(row, taken.get(row.id, 0)) for row in alive(tx)]
    held = holds.held(tx)
    for order in tx.execute(_ORDERS):
        executors += [_ordered(order, n, config) for n in range(1, order.machines + 1)]
    seen = Snapshot(
        now=now,
        lanes=tuple(config.all_lanes().values()),
        pools=tuple(_closed(_pool(tx, name, pool), config, held, now) for name, pool in config.pools.items()),
        executors=tuple(executors),
        demand=(
            *_demand(demand, running, {e.id: e.slots for e in executors}, now),
            *([Demand("", (), leaving)] if leaving else []),
        ),
        schedule=near(config.windows(), open_at or now),
        reserve=config.reserve.reserve(),
        budgets=budgets,
    )
    rooms = {k.executor: k for k in _kept(tx, demand, config, allowed(seen), now, shut)}
    return replace(seen, executors=tuple(_keeping(e, rooms.get(e.id)) for e in executors)) if rooms else seen


def _waits(
    tx: Connection, config: FarmConfig, now: datetime, shut: Collection[str] = ()
) -> Sequence[tuple[AnyRow, int]]:
    """What waits, like work together, and how many tasks; of those that need a licence as many as could have one."""
    rows = [row for query in (_ARRAYS, _TASKS) for row in _earliest(tx, query, config, now, shut)]
    if not any(row.licences for row in rows):
        return [(row, row.waiting) for row in rows]
    now_used = uses(tx, config.all_licences())
    largest = max((pool.slots for pool in config.pools.values()), default=1)
    return [(row, n) for row in rows if (n := _may(row, now_used, largest))]


def _earliest(tx: Connection, query: Any, config: FarmConfig, now: datetime, shut: Collection[str]) -> Sequence[AnyRow]:
    """Where some lanes leave slots to others, a long row of theirs must not hide what the others have."""
    about = {"now": now, "shut": sorted(shut)}
    rows = tx.execute(query, about).all()
    if len(rows) < _ROWS or not config.reserve.reserves:
        return rows
    parts = (query.where(t.Job.lane.in_(config.reserve.lanes)), query.where(t.Job.lane.not_in(config.reserve.lanes)))
    return [row for part in parts for row in tx.execute(part, about)]


def _may(row: AnyRow, now_used: Uses, largest: int) -> int:
    if not row.licences:
        return int(row.waiting)
    needs = loads(row.licences) if isinstance(row.licences, str) else row.licences
    return now_used.begins(needs, row.waiting, largest)


def _kept(
    tx: Connection,
    waits: Sequence[tuple[AnyRow, int]],
    config: FarmConfig,
    most: Allowed | None,
    now: datetime,
    shut: Collection[str],
) -> Sequence[Kept]:
    """Asked only where a task of several slots waits, or one with needs that is due."""
    if not any(row.slots > 1 or (row.needs and row.due <= now) for row, _ in waits):
        return ()
    return kept(tx, config.all_lanes(), config.owner_weights(), config.all_licences(), now, most, shut)


def _executor(row: AnyRow, taken: int) -> Executor:
    busy = min(taken, row.slots)
    idle = None if busy else row.idle_since
    return Executor(row.id, row.pool, row.state, row.slots, busy, row.ordered, idle, offer=held_of(row.offer).offer)


def _keeping(seen: Executor, room: Kept | None) -> Executor:
    if room and room.part:
        return replace(seen, aside=room.slots)
    return replace(seen, kept=room.slots, kept_for=str(room.job)) if room else seen


def _ordered(order: AnyRow, n: int, config: FarmConfig) -> Executor:
    offer = of_pool(config.pools[order.pool]) if order.pool in config.pools else PLAIN
    return Executor(f"{order.token}-{n}", order.pool, "ordered", order.slots, 0, order.created, offer=offer)


def _pool(tx: Connection, name: str, pool: PoolConfig) -> Pool:
    fact = pool_fact(tx, name)
    boot = timedelta(seconds=fact.boot_s) if fact.boots else pool.boot
    return Pool(
        name=name,
        price_per_hour=Decimal(pool.price_per_hour),
        slots=pool.slots,
        ceiling=pool.ceiling_slots,
        max_slots=pool.largest,
        boot=boot,
        boot_p95=max(boot, timedelta(seconds=fact.boot_p95_s), pool.boot),
        floor=pool.floor,
        spare=pool.idle_target,
        idle=pool.idle,
        min_bill=pool.min_bill,
        breaker_open_until=fact.breaker_until,
        offer=of_pool(pool),
    )


def _closed(pool: Pool, config: FarmConfig, held: Mapping[tuple[str, str], Held], now: datetime) -> Pool:
    """By the preset; and whether a person holds it, or stopped the spending while it costs something."""
    pool = config.under_policy(pool)
    if mine := held.get(("pool", pool.name)):
        return replace(pool, closed="held", closed_why=f"pool {pool.name} is {mine.words}")
    stop = held.get(("spending", ""))
    if stop and hours(pool, config.windows(), now).price_per_hour > 0:
        return replace(pool, closed="spending", closed_why=f"spending is {stop.words}; pool {pool.name} costs money")
    return pool


def _demand(
    waits: Sequence[tuple[AnyRow, int]], running: Sequence[AnyRow], slots: Mapping[str, int], now: datetime
) -> tuple[Demand, ...]:
    waiting: dict[str, list[Waiting]] = {}
    for row, count in waits:
        waiting.setdefault(row.lane, []).append(_waiting(row, count))
    busy: dict[str, list[Busy]] = {}
    for row in _on_slots(running, slots):
        busy.setdefault(row.lane, []).append(_busy(row, now))
    return tuple(
        Demand(lane, tuple(waiting.get(lane, ())), tuple(busy.get(lane, ()))) for lane in sorted({*waiting, *busy})
    )


def _waiting(row: AnyRow, count: int) -> Waiting:
    predicted = timedelta(seconds=sane(row.predicted_s))
    found = Waiting(count, row.submitted, row.due, predicted, row.slots, str(row.job), owner=row.owner)
    needs = needs_of(row.needs) if row.needs else None
    return replace(found, amounts=needs.amounts, labels=needs.labels) if needs else found


def _on_slots(running: Sequence[AnyRow], slots: Mapping[str, int]) -> Iterator[AnyRow]:
    """Who occupies the slots, once for each attempt. What waits behind them is short, and nothing to plan with."""
    free = dict(slots)
    for row in sorted(running, key=lambda r: (r.started is None, r.started or r.claimed)):
        held = min(row.attempts, free.get(row.executor, 0) // row.slots)
        free[row.executor] = free.get(row.executor, 0) - held * row.slots
        yield from [row] * held


def _busy(row: AnyRow, now: datetime) -> Busy:
    predicted = timedelta(seconds=sane(row.predicted_s))
    given = given_of(row.given)[0] if row.given else ()
    return Busy(expected_end(row.started or row.claimed, predicted, now), row.slots, row.executor, given)


def _leaving(row: AnyRow, now: datetime) -> Busy:
    """What has ended for us holds no slot any more, and the rest of what it had until its executor says so."""
    back = max(row.since + endings.GRACE, now + timedelta(seconds=1))
    return Busy(back, 0, row.executor, given_of(row.given)[0])


def prices_nano(config: FarmConfig, open_prices: Mapping[str, Decimal | None]) -> dict[str, int]:
    """Pool → nano-units an hour that hold now: the window's price, else the pool's."""
    out: dict[str, int] = {}
    for name, pool in config.pools.items():
        price = open_prices.get(name)
        out[name] = int((pool.price_per_hour if price is None else price) * 1_000_000_000)
    return out
