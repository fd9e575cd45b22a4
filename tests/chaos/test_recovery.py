"""What the campaign has taught, and how soon a farm has recovered."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.adoption import away, frozen, killed
from tests.chaos.ground import Ground


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


def at_once(*trials: Callable[[], Any]) -> list[Any]:
    """What they give. For those that mostly wait for time to pass."""
    with ThreadPoolExecutor(len(trials)) as pool:
        return [one.result() for one in [pool.submit(trial) for trial in trials]]


def test_a_frozen_executor_is_replaced() -> None:
    """All its processes stop: nothing ends, nothing answers."""
    assert max(at_once(partial(frozen, "plain"), partial(frozen, "ray"))) < 60


@pytest.mark.parametrize(("engine", "role"), [("plain", "service"), ("plain", "gateway"), ("ray", "gcs")])
def test_fifty_tasks_outlive_the_death_of(engine: str, role: str) -> None:
    assert killed(engine, role) < 60


def test_a_lease_decides_what_runs_again() -> None:
    """Within it nothing does; after it what had ended still counts, and what an executor ran runs again, once."""
    within = partial(away, "plain", lease_s=60, ending=True, over=False)
    ended = partial(away, "plain", lease_s=6, ending=True, over=True)
    running = partial(away, "plain", lease_s=6, ending=False, over=True)
    assert at_once(within, ended, running) == [(0, 10), (0, 10), (10, 10)]
