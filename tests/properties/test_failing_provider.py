"""A provider whose own disk is full fails in ways that are no provider's error: the other pools go on."""

import errno
from collections.abc import Collection, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from executors.contract import Machine, Offer, Order, Placed
from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from farm.reconcile import _terminate
from farm.running import RunningService
from tests.properties.simulated_farm import SimulatedFarm

FULL = OSError(errno.ENOSPC, "No space left on device")


class Full:
    """Whatever it is asked, it can't write its books."""

    def offers(self) -> Sequence[Offer]:
        return []

    def launch(self, order: Order, /) -> Placed:
        raise FULL

    def machines(self) -> Sequence[Machine]:
        raise FULL

    def terminate(self, ids: Collection[str], /) -> None:
        raise FULL


class Odd(Full):
    """It fails as nobody expects."""

    def machines(self) -> Sequence[Machine]:
        raise RuntimeError("odd")


@pytest.fixture
def farm(tmp_path: Path) -> SimulatedFarm:
    pools = {"bad": PoolConfig(floor=1), "cloud": PoolConfig(provider="simulated", ceiling=2, floor=1)}
    farm = SimulatedFarm(tmp_path / "farm.db", FarmConfig(pools=pools), SimulatedOptions(slots=1, ceiling=2))
    migrate(farm.db, "farm.db")
    farm.fleet.providers = {"bad": Full(), "cloud": farm.provider}
    return farm


def test_the_others_work_and_what_it_was_to_launch_is_tried_again(farm: SimulatedFarm) -> None:
    job = farm.submit({"name": "main", "argv": ["x"], "array": {"first": 1, "last": 3}})
    for _ in range(200):
        farm.turn()
    assert farm.job(job)["state"] == "done"
    with farm.db.read() as tx:
        state, error = tx.execute(select(t.Order.state, t.Order.error).where(t.Order.pool == "bad")).one()
    assert (state, "No space left" in error) == ("open", True)
    _terminate(farm.fleet, "bad", ["x-1"])


@pytest.mark.parametrize("bad", [Full, Odd])
def test_the_others_are_ended_when_the_farm_goes_down(farm: SimulatedFarm, bad: type[Full]) -> None:
    while not farm.machines():
        farm.turn()
    farm.fleet.providers = {"bad": bad(), "cloud": farm.provider}
    service = RunningService.__new__(RunningService)
    service.farm = SimpleNamespace(wheel=farm.fleet, db=farm.db, clock=farm.clock, feed=farm.feed)  # type: ignore[assignment]
    service._end_executors()
    assert farm.machines() == []
