"""What is shown of pools only reads: a new pool of which nothing is known is shown like any other."""

from farm.breaker import open_breaker
from farm.config import FarmConfig
from farm.db import Database
from farm.fleet import learn_boot
from farm.overview import pools
from tests.contract.queue_farm import QueueFarm

CONFIG = FarmConfig.model_validate({"pools": {"local": {"provider": "local"}, "new": {"provider": "local"}}})


def shown(farm: QueueFarm) -> dict[str, tuple[float, str]]:
    with farm.db.read() as tx:
        return {pool["name"]: (pool["boot_s"], pool["error"]) for pool in pools(tx, CONFIG, farm.clock.now())}


def test_a_pool_of_which_nothing_is_known_is_shown(db: Database) -> None:
    farm = QueueFarm(db)
    before = shown(farm)
    assert {name: error for name, (_, error) in before.items()} == {"local": "", "new": ""}
    with db.write() as tx:
        learn_boot(tx, "new", 123.0)
        open_breaker(tx, "local", "sold out", farm.clock.now())
    assert shown(farm) == {"local": (before["local"][0], "sold out"), "new": (123.0, "")}
