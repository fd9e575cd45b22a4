"""The same farm at another time: what would be decided then."""

from dataclasses import replace
from datetime import datetime, timedelta

from schedules.model import Busy, Demand, Executor, Pool, Snapshot, Waiting


def shifted(seen: Snapshot, at: datetime) -> Snapshot:
    """All that lasts has lasted as long at `at` as it has now, and is due as soon; the windows stay where they are."""
    by = at - seen.now
    return replace(
        seen,
        now=at,
        pools=tuple(_pool(pool, by) for pool in seen.pools),
        executors=tuple(_executor(e, by) for e in seen.executors),
        demand=tuple(_demand(demand, by) for demand in seen.demand),
    )


def _pool(pool: Pool, by: timedelta) -> Pool:
    until = pool.breaker_open_until
    return replace(pool, breaker_open_until=until and until + by)


def _executor(e: Executor, by: timedelta) -> Executor:
    return replace(e, since=e.since + by, idle_since=e.idle_since and e.idle_since + by)


def _demand(demand: Demand, by: timedelta) -> Demand:
    return replace(
        demand,
        waiting=tuple(_waiting(one, by) for one in demand.waiting),
        running=tuple(_busy(one, by) for one in demand.running),
    )


def _waiting(one: Waiting, by: timedelta) -> Waiting:
    return replace(one, arrival=one.arrival + by, due=one.due + by)


def _busy(one: Busy, by: timedelta) -> Busy:
    return replace(one, predicted_finish=one.predicted_finish + by)
