"""Machines that break what they touch, and jobs that break by themselves: the one is replaced, the other is not."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.config import FarmConfig
from farm.model import Range, StepSpec
from farm.queue import quarantine
from tests.contract.queue_farm import of
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "price_per_hour": "0.36", "ceiling": 4, "boot": 5, "idle": 10}


@pytest.fixture
def new(tmp_path: Path, empty: Path) -> Callable[..., Any]:
    @contextmanager
    def make() -> Iterator[SimulatedFarm]:
        path = Path(shutil.copy(empty, tmp_path / "farm.db"))
        config = FarmConfig.model_validate({"pools": {"cloud": POOL}})
        farm = SimulatedFarm(path, config, SimulatedOptions(boot_s=5, ceiling=4))
        yield farm
        farm.db.close()
        for leftover in tmp_path.glob("farm.db*"):
            leftover.unlink()

    return make


def array(last: int, **more: Any) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x", "{index}"), "array": Range(first=1, last=last), **more})


def quarantined(farm: SimulatedFarm) -> set[str]:
    with farm.db.read() as tx:
        return set(tx.execute(select(t.Executor.id).where(t.Executor.quarantined.is_not(None))).scalars())


def ordered(farm: SimulatedFarm) -> int:
    with farm.db.read() as tx:
        return len(tx.execute(select(t.Executor.id)).all())


def test_a_machine_that_breaks_everything_is_replaced_and_all_gets_done(new: Callable[..., Any]) -> None:
    with new() as farm:
        bad: set[str] = set()
        farm.broken = lambda executor: executor in bad
        jobs = [farm.submit(array(6, retries=2), owner=name) for name in ("ada", "bob", "eve")]
        while not farm.gateway.running:
            farm.turn()
        bad.add(min(executor for executor, _, _ in farm.gateway.running.values()))
        farm.run()
        assert quarantined(farm) == bad
        assert {farm.job(job)["state"] for job in jobs} == {"done"}


def test_a_pool_of_bad_machines_alone_does_not_order_for_ever(new: Callable[..., Any]) -> None:
    with new() as farm:
        farm.broken = lambda _executor: True
        jobs = [farm.submit(array(5, retries=5), owner=f"o{n}") for n in range(6)]
        farm.run()
        assert {farm.job(job)["state"] for job in jobs} == {"failed"}
        assert len(quarantined(farm)) <= quarantine.MOST
        assert ordered(farm) <= 4 + 2 * quarantine.MOST


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(bad=st.sets(st.integers(1, 4), max_size=4), retries=st.integers(0, 3), tasks=st.integers(1, 6))
def test_jobs_that_fail_by_themselves_cost_few_machines(
    new: Callable[..., Any], bad: set[int], retries: int, tasks: int
) -> None:
    with new() as farm:
        jobs = [farm.submit(array(tasks, retries=retries), owner=f"o{n}") for n in range(1, 5)]
        failing = {job for n, job in enumerate(jobs, 1) if n in bad}
        farm.exit = lambda work: 3 if of(work) in failing else 0
        farm.run()
        assert {job for job in jobs if farm.job(job)["state"] == "failed"} == failing
        assert len(quarantined(farm)) <= (quarantine.MOST if len(failing) > 1 else 0)
