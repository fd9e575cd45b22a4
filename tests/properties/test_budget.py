"""A whole farm with budgets: spent is never more than was allowed and what ran then cost itself, boots and idling
counted; then nothing more begins, until the next period."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from sqlalchemy import func, select

from executors.simulated import SimulatedOptions
from farm import fleet
from farm import tables as t
from farm.config import FarmConfig
from farm.ledger import NANO
from farm.model import Range, StepSpec
from farm.spending import Spending
from schedules.budgets import exhausted
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "price_per_hour": "3.6", "ceiling": 4, "boot": 5, "idle": 10}  # 0.001 a second
SECOND = Decimal("0.001")


@pytest.fixture
def new(tmp_path: Path, empty: Path) -> Callable[..., SimulatedFarm]:
    def make(seed: int, **budget: Any) -> SimulatedFarm:
        path = Path(shutil.copy(empty, tmp_path / f"farm-{seed}.db"))
        said = {"amount": "0.5", "owner": "ada", "period": "day", **budget}
        config = FarmConfig.model_validate({"pools": {"cloud": POOL}, "budgets": {"b": said}})
        return SimulatedFarm(path, config, SimulatedOptions(boot_s=5, ceiling=4, seed=seed), seed)

    return make


def array(last: int, **more: Any) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x", "{index}"), "array": Range(first=1, last=last), **more})


def spent(farm: SimulatedFarm, owner: str = "ada") -> Decimal:
    farm.book()
    with farm.db.read() as tx:
        query = select(func.coalesce(func.sum(t.Ledger.cost_nano), 0)).where(t.Ledger.owner == owner)
        return Decimal(int(tx.execute(query).scalar_one())) / NANO


def dearest(farm: SimulatedFarm, turns: int, restart: int = -1) -> Decimal:
    """The most that what ran when nothing more might begin costs itself."""
    most = Decimal(0)
    for turn in range(turns):
        if turn == restart:
            farm.restart()
        farm.turn(1)
        if any(exhausted(budget) for budget in farm.fleet.spending.now):
            running = (Decimal(farm.duration(work)) for _, work, _ in farm.gateway.running.values())
            most = max(most, sum(running, Decimal(0)) * SECOND)
    return most


@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_never_exceeded_by_more_than_what_runs_costs_itself(new: Callable[..., Any], seed: int) -> None:
    farm = new(seed, amount=["0.12", "0.4"][seed - 1])
    farm.duration = lambda work: 1.0 + crc32(f"{seed}/{work.attempt}".encode()) % 40
    job, amount = farm.submit(array(400)), farm.config.budgets["b"].amount
    limit = amount + dearest(farm, 300, restart=60)
    assert farm.job(job)["state"] in ("queued", "running")
    assert farm.machines() == []
    assert spent(farm) <= limit
    assert spent(farm) >= amount * Decimal("0.6")
    farm.db.close()


def test_nobody_else_waits_for_it_and_what_others_left_idle_costs_its_idling_at_most(new: Callable[..., Any]) -> None:
    farm = new(4, amount="0.12")
    farm.duration = lambda work: 1.0 + crc32(work.attempt.encode()) % 40
    job, other = farm.submit(array(400)), farm.submit(array(12), owner="bob")
    limit = farm.config.budgets["b"].amount + dearest(farm, 300)
    assert farm.job(other)["state"] == "done"
    assert farm.job(job)["tasks"]["done"] < 400
    assert farm.machines() == []
    assert spent(farm) <= limit + 4 * 12 * SECOND  # four machines idle for ten seconds, seen a second late
    farm.db.close()


def test_the_next_period_goes_on(new: Callable[..., Any]) -> None:
    farm = new(5, amount="0.3")
    job = farm.submit(array(60))
    dearest(farm, 150)
    before = farm.job(job)["tasks"]["done"]
    assert 0 < before < 60
    farm.clock.turn((timedelta(days=1)).total_seconds())
    for _ in range(60):
        farm.turn(1)
    assert farm.job(job)["tasks"]["done"] > before
    farm.db.close()


def test_a_budget_too_small_for_any_machine_buys_none(new: Callable[..., Any]) -> None:
    farm = new(6, amount="0.01")  # boot and idling are 0.02
    farm.submit(array(60))
    for _ in range(60):
        farm.turn(1)
    with farm.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(t.Order)).scalar_one() == 0
    assert spent(farm) == 0
    farm.db.close()


def test_what_has_ended_and_is_not_booked_yet_is_bound(new: Callable[..., Any]) -> None:
    farm = new(7)
    farm.submit(array(60))
    while not farm.gateway.running:
        farm.turn(1)
    farm.clock.turn(9)
    now = farm.clock.now()
    with farm.db.write() as tx:
        for executor in farm.alive():
            fleet.ended(tx, executor, "it went", now)
        (before,) = Spending().told(tx, farm.config, now)
    assert before.spent + before.bound >= spent(farm) > before.spent
    farm.db.close()
