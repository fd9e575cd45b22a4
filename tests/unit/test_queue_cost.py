"""What the queue does grows with what it hands out, not with what waits: counted in steps of SQLite's own machine,
the same on every computer."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.config import FarmConfig
from farm.db import Database
from farm.model import Item, ManyJobs, Range, StepSpec
from farm.observe import observe
from farm.queue.many import submit_many
from tests.contract.queue_farm import LANES, QueueFarm


@pytest.fixture
def farm(tmp_path, empty):
    db = Database.file(Path(shutil.copy(empty, tmp_path)))
    yield QueueFarm(db)
    db.close()


def cost(farm: QueueFarm, act: Callable[[], object]) -> int:
    """In tens of instructions. The pool of this thread gives the same connection again."""
    ticks: list[None] = []
    with farm.db.engine.connect() as connection:
        driver = connection.connection.driver_connection
    driver.set_progress_handler(lambda: ticks.append(None), 10)
    act()
    driver.set_progress_handler(None, 0)
    assert ticks  # it was this connection
    return len(ticks)


def jobs(farm: QueueFarm, count: int) -> None:
    job = {"name": "many", "owner": f"o{count % 3}", "steps": [{"argv": ["true"]}]}
    with farm.db.write() as tx:
        submit_many(tx, ManyJobs.model_validate({"job": job, "commands": [[]] * count}), LANES, farm.clock.now())


def test_a_claim_among_many_jobs_costs_as_among_few(farm):
    jobs(farm, 301)
    few = cost(farm, lambda: farm.claim(4))
    jobs(farm, 6_001)
    assert cost(farm, lambda: farm.claim(4)) < 1.5 * few


def test_a_claim_from_a_large_array_costs_as_from_a_small_one(farm):
    farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=1_000)))
    few = cost(farm, lambda: farm.claim(4))
    farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=1_000_000)), owner="eve")
    assert cost(farm, lambda: farm.claim(4)) < 1.5 * few


def test_looking_at_an_array_costs_the_same_however_much_of_it_has_ended(farm):
    job = farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=1_000_000)))
    farm.finish(farm.claim(10))
    few = cost(farm, lambda: farm.job(job))
    farm.finish(farm.claim(1_500))
    assert cost(farm, lambda: farm.job(job)) < 1.5 * few + 5
    assert farm.counts(job) == {"ready": 998_490, "done": 1_510}


def test_letting_go_in_a_large_graph_costs_as_in_a_small_one(farm):
    def release(items: int) -> int:
        names = [f"i{n}" for n in range(items)]
        behind = tuple(Item(name=n, argv=("true",), after=(b,)) for b, n in itertools.pairwise(names))
        farm.submit(StepSpec(items=(Item(name="i0", argv=("true",)), *behind)), owner=f"o{items}")
        [work] = farm.claim(1)
        return cost(farm, lambda: farm.finish([work]))

    few = release(50)
    assert release(2_000) < 1.5 * few


def test_a_look_of_the_policy_costs_the_same_however_much_of_an_open_job_has_ended(farm):
    def look() -> None:
        with farm.db.read() as tx:
            observe(tx, FarmConfig(), farm.clock.now())

    farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=1_000_000)))
    farm.finish(farm.claim(10))
    few = cost(farm, look)
    farm.finish(farm.claim(1_500))
    assert cost(farm, look) < 1.5 * few
