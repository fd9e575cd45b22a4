"""A machine with fewer slots than its pool says works with those that it has, and that is told."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from executors.contract import Order, Placed
from executors.errors import SoldOut
from executors.simulated import SimulatedOptions, SimulatedProvider
from farm import tables as t
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from tests.properties.simulated_farm import SimulatedFarm

HAS = 2


class Small(SimulatedProvider):
    """Has machines of two slots and no larger ones; they are given where they are of use."""

    def launch(self, order: Order, /) -> Placed:
        self.asked = order
        if order.least > HAS:
            raise SoldOut("none is as large")
        return super().launch(replace(order, slots=min(order.slots, HAS)))


@pytest.fixture
def farm(tmp_path: Path) -> SimulatedFarm:
    pools = {"cloud": PoolConfig(provider="simulated", slots=4, max_slots=4, ceiling=8)}
    farm = SimulatedFarm(tmp_path / "farm.db", FarmConfig(pools=pools), SimulatedOptions(slots=4, ceiling=8))
    migrate(farm.db, "farm.db")
    farm.provider = Small(farm.cloud, "cloud")
    farm.fleet.providers = {"cloud": farm.provider}
    return farm


def test_work_is_placed_by_the_slots_that_are_there(farm: SimulatedFarm) -> None:
    job = farm.submit({"name": "main", "argv": ["x"], "array": {"first": 1, "last": 12}, "predicted_s": 60})
    told: set[tuple[int, bool]] = set()

    def look() -> None:
        with farm.db.read() as tx:
            boots = tx.execute(select(t.Executor.slots, t.Executor.why).where(t.Executor.ready.is_(None))).all()
        told.update((row.slots, row.why.endswith("; it has 2 of 4 slots")) for row in boots)
        told.update((slots, True) for slots in farm.gateway.attached.values())

    farm.run(each=look)
    assert farm.job(job)["state"] == "done"
    assert told == {(HAS, True)}


def test_what_does_not_fit_into_it_does_not_ask_for_it(farm: SimulatedFarm) -> None:
    farm.submit({"name": "main", "argv": ["x"], "cpu": 3, "predicted_s": 60})
    for _ in range(20):
        farm.turn()
    assert farm.provider.asked.least == 3
    assert farm.machines() == []


def test_nor_does_it_where_only_what_runs_already_would_fit(farm: SimulatedFarm) -> None:
    """Such a machine would have nothing to do."""
    farm.duration = lambda _work: 100_000.0
    light = {"name": "light", "argv": ["x"], "array": {"first": 1, "last": 2}, "predicted_s": 600}
    farm.submit(light, {"name": "wide", "argv": ["x"], "cpu": 3, "predicted_s": 600})
    for _ in range(60):
        farm.turn()
    assert farm.provider.asked.least == 3
    assert len(farm.machines()) == 1
