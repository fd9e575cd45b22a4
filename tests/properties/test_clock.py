"""A wall clock that is set back or forward by an hour costs no task, keeps no executor, and leaves the books right."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from executors.simulated import SimulatedOptions
from farm.clock import Clock
from farm.config import FarmConfig, PoolConfig
from farm.db import migrate
from farm.integrity import examine
from tests.properties.simulated_farm import SimulatedFarm

HOUR = 3600.0
PATIENCE = 300  # turns of a second: by far less than an hour


@dataclass
class WallClock:
    """What the service sees; machines and tasks go on by the true one."""

    true: Clock
    off: timedelta = timedelta()

    def now(self) -> datetime:
        return self.true.now() + self.off

    def jump(self, seconds: float) -> None:
        self.off += timedelta(seconds=seconds)


def made(tmp_path: Path) -> tuple[SimulatedFarm, WallClock]:
    pools = {"cloud": PoolConfig(provider="simulated", slots=1, ceiling=3, price_per_hour=2)}
    farm = SimulatedFarm(tmp_path / "farm.db", FarmConfig(pools=pools), SimulatedOptions(slots=1, ceiling=3))
    migrate(farm.db, "farm.db")
    wall = WallClock(farm.clock)
    farm.fleet.clock = farm.sites._clock = wall
    return farm, wall


def submit(farm: SimulatedFarm, tasks: int) -> int:
    return farm.submit({"name": "main", "argv": ["x"], "array": {"first": 1, "last": tasks}})


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("seed", range(6))
def test_a_jump_at_any_moment(tmp_path: Path, jump: float, seed: int) -> None:
    farm, wall = made(tmp_path)
    job = submit(farm, 8)
    for _ in range(random.Random(seed).randrange(1, 60)):
        farm.turn()
    wall.jump(jump)
    for _ in range(PATIENCE):
        farm.turn()
        if not farm.open_jobs() and not farm.alive():
            break
    assert farm.job(job)["state"] == "done"
    assert farm.alive() == []
    assert list(examine(tmp_path / "farm.db")) == []


def test_who_idles_goes_home_though_the_clock_was_set_back(tmp_path: Path) -> None:
    farm, wall = made(tmp_path)
    submit(farm, 1)
    while farm.open_jobs():
        farm.turn()
    assert farm.alive()
    wall.jump(-HOUR)
    for _ in range(PATIENCE):
        farm.turn()
    assert farm.alive() == []


def test_a_pool_that_was_sold_out_is_asked_again_though_the_clock_was_set_back(tmp_path: Path) -> None:
    farm, wall = made(tmp_path)
    plenty = farm.cloud.options
    farm.cloud.options = plenty.model_copy(update={"stock": 0})
    job = submit(farm, 1)
    for _ in range(20):
        farm.turn()
    farm.cloud.options = plenty
    wall.jump(-HOUR)
    for _ in range(PATIENCE):
        farm.turn()
    assert farm.job(job)["state"] == "done"
