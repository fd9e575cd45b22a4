"""What executors have beside slots: as their pool says, with numbered devices on a machine that several share."""

from collections.abc import Collection

from sqlalchemy import Connection, select

from executors.registry import shares_devices
from farm import fleet
from farm import tables as t
from farm.config import FarmConfig, PoolConfig
from farm.queue.needs import GPUS, given_of, held_of, offer_text
from schedules.needs import MEMORY, Offer, free_ones

_LOST = (
    select(t.Ending.given, t.Executor.pool)
    .join(t.Executor, t.Executor.id == t.Ending.executor)
    .where(t.Ending.given.is_not(None), t.Executor.state.not_in(fleet.ALIVE))
)


def of_pool(pool: PoolConfig) -> Offer:
    """Of each executor of the pool. What memory it has counts only where the pool says it."""
    amounts = {**pool.amounts, GPUS: pool.gpus, MEMORY: pool.memory or 0}
    found = tuple(sorted((name, n) for name, n in amounts.items() if n))
    return Offer(found, tuple(sorted(pool.labels.items())))


def texts(tx: Connection, config: FarmConfig, pool: str, count: int) -> list[str]:
    """What so many new executors of the pool have, each with devices of its own."""
    known = config.pools.get(pool)
    if known is None:
        return [""] * count
    offer, taken, shared = of_pool(known), _taken(tx, config, known), shares_devices(known.provider)
    found = []
    for _ in range(count):
        mine = free_ones(range(sum(map(len, taken)) + known.gpus), taken, known.gpus)
        taken = [*taken, mine] if shared else taken
        found.append(offer_text(offer, tuple(mine)))
    return found


def _taken(tx: Connection, config: FarmConfig, pool: PoolConfig) -> list[Collection[int]]:
    """Devices of this machine that its executors have; those of other machines are their executor's alone."""
    if not pool.gpus or not shares_devices(pool.provider):
        return []
    here = _on_this_machine(config)
    return [held_of(row.offer).gpus for row in fleet.alive(tx) if row.pool in here]


def _on_this_machine(config: FarmConfig) -> set[str]:
    return {name for name, one in config.pools.items() if shares_devices(one.provider)}


def held_back(tx: Connection, config: FarmConfig) -> Collection[str]:
    """Pools from which nothing is placed now: theirs are devices that a task of a lost executor may still have."""
    here = _on_this_machine(config)
    lost = any(row.pool in here and given_of(row.given)[1] for row in tx.execute(_LOST))
    return {name for name in here if config.pools[name].gpus} if lost else ()
