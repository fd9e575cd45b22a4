"""The campaign's daily slice, and what it has taught."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.adoption import away, frozen, killed
from tests.chaos.campaign import run
from tests.chaos.ground import Ground

SEEDS = [int(s) for s in os.environ.get("FARM_SEEDS", "").split(",") if s]
SEEDS = SEEDS or [2 * secrets.randbelow(10**8) + parity for parity in (0, 1)]


@pytest.mark.timeout(500)  # one that is stuck says so by itself
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_left(seed: int) -> None:
    outcome = run(seed)
    again = f"again: .venv/bin/python -m tests.chaos.campaign --seed {seed}"
    assert outcome.findings == [], "\n".join([again, *outcome.faults, *outcome.findings])


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path / "home", "plain", 2)
    try:
        yield made
        made.down()
        assert made.leftovers() == []
    finally:
        made.clear()


def test_two_farm_up_at_once_are_one_farm(ground: Ground) -> None:
    ground.up_twice()
    assert len(ground.of("service")) == 1


@pytest.mark.parametrize("engine", ["plain", "ray"])
def test_a_frozen_executor_is_replaced(engine: str) -> None:
    """All its processes stop: nothing ends, nothing answers."""
    assert frozen(engine) < 60


@pytest.mark.parametrize(("engine", "role"), [("plain", "service"), ("plain", "gateway"), ("ray", "gcs")])
def test_fifty_tasks_outlive_the_death_of(engine: str, role: str) -> None:
    assert killed(engine, role) < 60


def test_a_service_that_is_back_within_the_lease_finds_all_results() -> None:
    assert away("plain", lease_s=60, ending=True, over=False) == (0, 10)


def test_after_the_lease_what_has_ended_before_still_counts() -> None:
    assert away("plain", lease_s=6, ending=True, over=True) == (0, 10)


def test_after_the_lease_executors_have_ended_and_what_they_ran_runs_again_once() -> None:
    assert away("plain", lease_s=6, ending=False, over=True) == (10, 10)
