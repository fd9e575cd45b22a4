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
SEEDS = SEEDS or [2 * secrets.randbelow(10**8) + parity for parity in (0, 1, 0)]


@pytest.mark.timeout(500)  # one that is stuck says so by itself
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_left(seed: int) -> None:
    outcome = run(seed)
    again = f"again: .venv/bin/python -m tests.chaos.campaign --seed {seed}"
    assert outcome.findings == [], "\n".join([again, *outcome.faults, *outcome.findings])


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path / "home", "plain", 2)
    yield made
    made.down()
    assert made.leftovers() == []


def test_two_farm_up_at_once_are_one_farm(ground: Ground) -> None:
    both = [ground.shell.start("up") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(ground.of("service")) == 1


@pytest.mark.parametrize("engine", ["plain", "ray"])
def test_a_frozen_executor_is_replaced(engine: str) -> None:
    """All its processes stop: nothing ends, nothing answers."""
    assert frozen(engine) < 60


@pytest.mark.parametrize(("engine", "role"), [("plain", "service"), ("plain", "gateway"), ("ray", "gcs")])
def test_fifty_tasks_outlive_the_death_of(engine: str, role: str) -> None:
    assert killed(engine, role) < 60


def test_a_service_that_is_back_within_the_lease_finds_all_results() -> None:
    assert away("plain", seconds=6, lease_s=60) == (0, 10)


def test_after_the_lease_executors_have_ended_and_their_tasks_run_again_once() -> None:
    again, tasks = away("plain", seconds=8, lease_s=6)
    assert (again, tasks) == (10, 10)
