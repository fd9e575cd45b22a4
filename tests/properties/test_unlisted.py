"""A provider that has forgotten a machine: its books were lost, or it ended long before anybody asked."""

from pathlib import Path

from executors.simulated import SimulatedOptions
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from farm.integrity import examine
from farm.reconcile import reconcile
from tests.properties.simulated_farm import SimulatedFarm


def made(tmp_path: Path) -> SimulatedFarm:
    pools = {"cloud": PoolConfig(provider="simulated", slots=1, ceiling=2)}
    farm = SimulatedFarm(tmp_path / "farm.db", FarmConfig(pools=pools), SimulatedOptions(slots=1, ceiling=2))
    migrate(farm.db, "farm.db")
    farm.duration = lambda _work: 1000.0
    farm.submit({"name": "main", "argv": ["x"]})
    return farm


def unlisted(farm: SimulatedFarm, seconds: int) -> None:
    """Time passes while the provider does not answer."""
    for _ in range(seconds):
        farm.clock.turn(1)
        farm.gateway.talk()
        reconcile(farm.fleet)
        farm.gateway.talk()


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


def test_a_listing_from_before_its_launch_says_nothing_of_a_machine(tmp_path: Path) -> None:
    farm = made(tmp_path)
    farm.fleet.list_machines()
    unlisted(farm, 60)
    (healthy,) = farm.alive()
    hidden = farm.cloud._rented.pop(healthy)
    farm.fleet.list_machines()  # the books lag behind
    farm.cloud._rented[healthy] = hidden
    unlisted(farm, 1)
    assert farm.alive() == [healthy]
    assert farm.gateway.running


def test_only_a_second_listing_tells_that_a_machine_is_forgotten(tmp_path: Path) -> None:
    farm = made(tmp_path)
    while not farm.gateway.running:
        farm.turn()
    (forgotten,) = farm.alive()
    hidden = farm.cloud._rented.pop(forgotten)
    farm.fleet.list_machines()
    farm.cloud._rented[forgotten] = hidden
    unlisted(farm, 60)
    assert farm.alive() == [forgotten]
    del farm.cloud._rented[forgotten]
    farm.fleet.list_machines()
    unlisted(farm, 1)
    assert forgotten not in farm.alive()
