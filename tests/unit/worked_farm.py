"""A farm that has done, failed and skipped work, and has some under way, some waiting."""

from pathlib import Path

from executors.simulated import SimulatedOptions
from farm.acts import By, record
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from farm.queue import holds
from tests.properties.simulated_farm import SimulatedFarm

POOLS = {"cloud": PoolConfig(provider="simulated", slots=2, ceiling=4, price_per_hour=7)}
ITEMS = [{"name": "a", "argv": ["x"]}, {"name": "b", "argv": ["x"], "after": ["a"]}]


def work(path: Path) -> Path:
    """Its database, at `path`."""
    farm = SimulatedFarm(path, FarmConfig(pools=POOLS), SimulatedOptions(slots=2, ceiling=4))
    migrate(farm.db, "farm.db")
    farm.exit = lambda work: int(work.attempt.startswith("2."))
    farm.submit({"name": "main", "argv": ["x"], "array": {"first": 1, "last": 5}})
    farm.submit(
        {"name": "main", "argv": ["x"]},
        {"name": "then", "argv": ["x"], "array": {"first": 1, "last": 3}, "after": ["main"]},
    )
    farm.run()
    farm.duration = lambda _work: 1e6
    farm.submit({"name": "main", "items": ITEMS})
    farm.submit({"name": "main", "argv": ["x"]}, after=[3])
    while not farm.gateway.running:
        farm.turn()
    farm.book()
    with farm.db.write() as tx:
        by = By("ada", "stock-taking", farm.clock.now())
        holds.add(tx, "lane", "bulk", record(tx, by, "hold", "lane", "bulk"))
    farm.db.close()
    return path
