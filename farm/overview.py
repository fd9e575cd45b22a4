"""Executors, pools and opening hours as people see them."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from executors.site.process import started_at
from farm import lease, postgres, roll
from farm import tables as t
from farm.config import FarmConfig
from farm.fleet import ALIVE, alive, pool_fact
from farm.model import ExecutorState, JobState, OrderState
from farm.observe import observe
from farm.queue import holds
from farm.read import money, when
from farm.tables import AnyRow
from farm.timetable import opened
from schedules.idle import patience
from schedules.windows import aimed, hours

if TYPE_CHECKING:
    from farm.context import Farm

_TAKEN = (
    select(t.BY_EXECUTOR, func.sum(t.Attempt.slots).label("slots"))
    .where(t.Attempt.finished.is_(None))
    .group_by(t.BY_EXECUTOR)
)
_OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.HELD)
_JOBS = select(t.Job.state, func.count().label("n")).where(t.Job.state.in_(_OPEN)).group_by(t.Job.state)
_SPENT = select(func.coalesce(func.sum(t.Ledger.cost_nano), 0))
_EXECUTORS = select(t.Executor).order_by(t.Executor.ordered, t.Executor.id)
_ORDERS = select(t.Order).where(t.Order.state == OrderState.OPEN).order_by(t.Order.created)


def status(farm: "Farm") -> dict[str, Any]:
    """What `farm status` shows."""
    with farm.db.read() as tx:
        jobs = {row.state: row.n for row in tx.execute(_JOBS)}
        states = [row.state for row in alive(tx)]
        spent = tx.execute(_SPENT).scalar_one()
        held = sorted(" ".join(about).strip() for about in holds.held(tx))
    apis = roll.present(farm.db, farm.home, farm.clock.now())
    executors = {str(s): states.count(s) for s in ExecutorState if s in states}
    return {
        "farm": farm.id,
        "home": str(farm.home.path),
        "database": farm.db.where,
        "engine": farm.config.site.engine,
        "running": farm.wheel is not None,
        "processes": [*_processes(farm), *_beside(apis)],
        **_members(farm),
        "apis": [who.about() for who in apis],
        "queue": {state: jobs.get(state, 0) for state in ("queued", "running", "held")},
        "held": held,
        "executors": executors,
        "spent": money(int(spent)),
        "currency": farm.config.currency,
        "waiters": farm.feed.waiters,
        "listening": farm.listener.about() if farm.listener else None,
        "refused": farm.refusals.count(),
        "refused_since": when(farm.refusals.since),
    }


def _members(farm: "Farm") -> dict[str, Any]:
    """Who leads and who stands by; where no service runs here, it may be one of another home that leads."""
    if farm.lease is not None:
        leader, standbys = farm.lease.leader(), farm.lease.standbys()
        return {"leader": leader.about(), "standbys": [who.about() for who in standbys]}
    found = None
    if not farm.db.sqlite:
        with farm.db.read() as tx:
            found = lease.leader(tx) if postgres.served(tx) else None
    return {"leader": found and found.about(), "standbys": []}


def _processes(farm: "Farm") -> list[Mapping[str, Any]]:
    if farm.wheel is None:
        return []
    pid = os.getpid()
    mine: Mapping[str, Any] = {"role": "service", "pid": pid, "started": started_at(pid), "executor": "", "attempt": ""}
    return [mine, *(farm.sites.processes if farm.sites else ())]


def _beside(apis: Sequence[lease.Member]) -> list[Mapping[str, Any]]:
    """Those on this machine, as processes."""
    here = [who for who in apis if who.host == socket.gethostname()]
    return [
        {"role": "api", "pid": who.pid, "started": started_at(who.pid), "executor": "", "attempt": ""} for who in here
    ]


def executors(tx: Connection, every: bool) -> list[dict[str, Any]]:
    """Living ones and open orders; with `every` those of the past too."""
    taken = {row.executor: int(row.slots) for row in tx.execute(_TAKEN)}
    query = _EXECUTORS if every else _EXECUTORS.where(t.Executor.state.in_(ALIVE))
    found = [_executor(row, taken.get(row.id, 0)) for row in tx.execute(query)]
    return found + [_ordered(row, n) for row in tx.execute(_ORDERS) for n in range(1, row.machines + 1)]


def _executor(row: AnyRow, taken: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "pool": row.pool,
        "state": row.state,
        "slots": row.slots,
        "busy": min(taken, row.slots),
        "ordered": when(row.ordered),
        "ready": when(row.ready),
        "idle_since": when(row.idle_since) if not taken else None,
        "gone": when(row.ended),
        "price": money(row.price_nano),
        "why": row.why,
    }


def _ordered(row: AnyRow, n: int) -> dict[str, Any]:
    return {
        "id": f"{row.token}-{n}",
        "pool": row.pool,
        "state": "ordered",
        "slots": row.slots,
        "busy": 0,
        "ordered": when(row.created),
        "ready": None,
        "idle_since": None,
        "gone": None,
        "price": None,
        "why": row.error or row.why,
    }


def pools(tx: Connection, config: FarmConfig, now: datetime) -> list[dict[str, Any]]:
    seen = observe(tx, config, now)
    out = []
    for pool in seen.pools:
        found = aimed(hours(pool, seen.schedule, now), pool.name, seen.executors)
        fact = pool_fact(tx, pool.name)
        out.append(
            {
                "name": pool.name,
                "provider": config.pools[pool.name].provider,
                "slots": pool.slots,
                "boot_s": pool.boot.total_seconds(),
                "breaker_open_until": when(fact.breaker_until)
                if fact.breaker_until and fact.breaker_until > now
                else None,
                "error": fact.error,
                "closed": pool.closed_why or found.shut,
                "executors": sum(e.pool == pool.name for e in seen.executors),
                **opened(found),
                "idle_s": patience(pool, found).total_seconds(),
            }
        )
    return out
