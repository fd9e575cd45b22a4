"""Who waits for a job learns at its end what all of it has cost, the seconds since the books were last written too."""

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

from executors.simulated import SimulatedOptions
from farm.api.jobs import _wait
from farm.config import FarmConfig
from farm.db import Database, migrate
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "price_per_hour": "36", "ceiling": 1, "boot": 5, "idle": 60}


def test_the_cost_at_the_end_is_the_whole_cost(tmp_path: Path) -> None:
    db = Database.file(tmp_path / "farm.db")
    migrate(db, "farm.db")
    db.close()
    config = FarmConfig.model_validate({"pools": {"cloud": POOL}})
    farm = SimulatedFarm(tmp_path / "farm.db", config, SimulatedOptions(boot_s=5, ceiling=1))
    job = farm.submit({"argv": ["x"]})
    while farm.job(job)["state"] != "done":
        farm.turn()
    farm.clock.turn(9)  # in which no wheel turned
    before = Decimal(farm.job(job)["cost"])
    parts = SimpleNamespace(db=farm.db, clock=farm.clock, config=config, feed=farm.feed, wheel=farm.fleet, leader=None)
    said = Decimal(_wait(parts, job, 0, 0, False, lambda: False)["cost"])
    assert said >= before + Decimal("0.09")  # 36 an hour are 0.01 a second
    assert Decimal(farm.job(job)["cost"]) == said
    farm.book()
    assert Decimal(farm.job(job)["cost"]) == said
    farm.db.close()
