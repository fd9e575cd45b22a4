"""Machines of a pool that was taken out of farm.toml: nobody orders them any more, and they must not cost for ever."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from farm.integrity import examine
from farm.reconcile import reconcile
from farm.running import RunningService
from tests.properties.simulated_farm import SimulatedFarm

WHY = "pool cloud is no longer in farm.toml"


@pytest.fixture
def farm(tmp_path: Path) -> SimulatedFarm:
    """One machine that works, and one that is kept though it idles; then the pool is gone."""
    pools = {"cloud": PoolConfig(provider="simulated", ceiling=2, floor=2)}
    farm = SimulatedFarm(tmp_path / "farm.db", FarmConfig(pools=pools), SimulatedOptions(slots=1, ceiling=2))
    migrate(farm.db, "farm.db")
    farm.duration = lambda _work: 100.0
    while len(farm.gateway.attached) < 2 or not all(map(farm.gateway._up, farm.gateway.attached)):
        farm.turn()
    farm.submit({"name": "main", "argv": ["x"]})
    while not farm.gateway.running:
        farm.turn()
    farm.config = FarmConfig(pools={"other": PoolConfig()})
    farm.restart()
    farm.fleet.providers = {}
    return farm


def test_idle_ones_go_and_busy_ones_after_their_work(farm: SimulatedFarm, tmp_path: Path) -> None:
    reconcile(farm.fleet)  # before the gateway has settled with the new service
    (busy,) = {executor for executor, _, _ in farm.gateway.running.values()}
    for _ in range(30):
        farm.turn()
    assert farm.machines() == farm.alive() == [busy]
    with farm.db.read() as tx:
        assert [tuple(r) for r in tx.execute(select(t.Executor.why, t.Executor.state).order_by(t.Executor.ended))] == [
            (WHY, "draining"),
            (WHY, "gone"),
        ]
    farm.run()
    assert (farm.machines(), farm.job(1)["state"]) == ([], "done")
    assert list(examine(tmp_path / "farm.db")) == []


def test_their_rows_end_though_no_provider_tells_of_it(farm: SimulatedFarm) -> None:
    (busy,) = {executor for executor, _, _ in farm.gateway.running.values()}
    for _ in range(90):
        farm.turn()
        farm.gateway.lost.clear()
    assert farm.machines() == farm.alive() == [busy]


def test_they_are_told_to_go_when_the_farm_goes_down(farm: SimulatedFarm) -> None:
    farm.gateway.talk()
    service = RunningService.__new__(RunningService)
    service.farm = SimpleNamespace(wheel=farm.fleet, db=farm.db, clock=farm.clock, feed=farm.feed)  # type: ignore[assignment]
    service._end_executors()
    farm.gateway.talk()
    assert farm.alive() == farm.machines() == []
