"""After a cancel of everything the farm comes to zero: machines that are ordered, boot, work or idle go, none inside
its paid minimum and none later than it idles at most."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.config import FarmConfig
from farm.model import Range, StepSpec
from farm.queue.cancel import cancel
from farm.reference import parse_reference
from tests.properties.simulated_farm import SimulatedFarm

T = 8  # seconds that an idle one is kept
SOON = 5


@pytest.mark.parametrize("paid", [0, 60], ids=["by the second", "a minute at least"])
@pytest.mark.parametrize("after", [0, 4, 25, 35], ids=["ordered", "booting", "working", "some idle"])
def test_a_cancel_of_everything_comes_to_zero(tmp_path: Path, empty: Path, after: int, paid: int) -> None:
    pool = {"provider": "simulated", "price_per_hour": 1, "ceiling": 6, "boot": 20, "idle": T, "min_bill": paid}
    config = FarmConfig.model_validate({"pools": {"cloud": pool}})
    database = Path(shutil.copy(empty, tmp_path / "farm.db"))
    farm = SimulatedFarm(database, config, SimulatedOptions(boot_s=20, ceiling=6, seed=1))
    farm.duration = lambda work: 10.0 if work.attempt.split(".")[1] in "123" else 600.0
    jobs = [farm.submit(_array(count)) for count in (4, 2)]
    for _ in range(after + 1):
        farm.turn(1)
    assert farm.machines()
    _cancel(farm, jobs)
    cancelled, gone = farm.clock.now(), farm.clock.now()
    for _ in range(paid + T + 3 * SOON):
        if farm.machines():
            farm.turn(1)
            gone = farm.clock.now()
    assert farm.machines() == []
    assert gone <= max(cancelled + timedelta(seconds=T), _paid_until(farm, paid)) + timedelta(seconds=SOON)
    farm.turn(1)  # that they have ended is in the books now
    with farm.db.read() as tx:
        for row in tx.execute(select(t.Executor)):
            assert row.ended - row.ordered >= timedelta(seconds=paid)
    farm.db.close()


def _array(count: int) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x", "{index}"), "array": Range(first=1, last=count)})


def _cancel(farm: SimulatedFarm, jobs: list[int]) -> None:
    with farm.db.write() as tx:
        for job in jobs:
            for _, attempt in cancel(tx, parse_reference(str(job)), farm.clock.now()).attempts:
                farm.gateway.running.pop(attempt)


def _paid_until(farm: SimulatedFarm, paid: int) -> datetime:
    """The end of the last paid minimum."""
    with farm.db.read() as tx:
        ordered: list[datetime] = list(tx.execute(select(t.Executor.ordered)).scalars())
    return max(ordered) + timedelta(seconds=paid)
