"""A provider that has forgotten a machine: its books were lost, or it ended long before anybody asked."""

from pathlib import Path

from executors.simulated import SimulatedOptions
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from farm.integrity import examine
from tests.properties.simulated_farm import SimulatedFarm


def test_a_machine_that_its_provider_does_not_list_any_more_is_lost(tmp_path: Path) -> None:
    pools = {"cloud": PoolConfig(provider="simulated", slots=1, ceiling=2)}
    farm = SimulatedFarm(tmp_path / "farm.db", FarmConfig(pools=pools), SimulatedOptions(slots=1, ceiling=2))
    migrate(farm.db, "farm.db")
    farm.duration = lambda _work: 1000.0
    job = farm.submit({"name": "main", "argv": ["x"]})
    while not farm.gateway.running:
        farm.turn()
    (forgotten,) = {executor for executor, _, _ in farm.gateway.running.values()}
    del farm.cloud._rented[forgotten]
    farm.gateway.forget(forgotten)
    farm.gateway.lost.clear()  # nobody saw it go: the gateway started anew, too
    farm.restart()
    farm.duration = lambda _work: 1.0
    farm.run()
    assert farm.job(job)["state"] == "done"
    assert list(examine(tmp_path / "farm.db")) == []
