"""What waits on an executor for its turn is told apart from what runs there."""

import pytest
from sqlalchemy import insert

from executors.contract import Event, EventKind, Work
from farm import tables as t
from farm.cli.moments import progress
from farm.clock import micros
from farm.db import Database
from farm.model import Range, StepSpec
from farm.queue import settle
from farm.queue.claim import Claim
from farm.queue.room import Room
from tests.contract.queue_farm import LANES, QueueFarm


@pytest.fixture
def farm(db: Database) -> QueueFarm:
    made = QueueFarm(db)
    now = made.clock.now()
    row = {"id": "e1", "order": "o", "pool": "local", "site": "local", "state": "ready", "slots": 1, "price_nano": 0}
    with db.write() as tx:
        tx.execute(insert(t.Executor), {**row, "why": "", "ordered": now, "launched": now, "billed_until": now})
    return made


def test_only_what_has_begun_runs(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r", "{index}"), array=Range(first=1, last=9)))
    first, *_ = farm.claim(4)
    assert told(farm, job) == "0/9 done, 4 handed out"
    at = micros(farm.clock.now()) * 1000
    with farm.db.write() as tx:
        settle.started(tx, [Event(1, EventKind.STARTED, first.attempt, first.token, at=at, spool="0-1")])
    assert told(farm, job) == "0/9 done, 1 running, 3 handed out"
    farm.finish([first])
    assert told(farm, job) == "1/9 done, 3 handed out"
    assert farm.job(job)["tasks"]["running"] == farm.job(job)["tasks"]["claimed"] == 3  # type: ignore[index]


def told(farm: QueueFarm, job: int) -> str:
    return progress(farm.job(job)["tasks"])  # type: ignore[arg-type]


def test_the_last_short_tasks_are_shared(farm: QueueFarm) -> None:
    """Else one executor ends long before the other."""
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=100)))
    assert {x: len(works) for x, works in claimed(farm, job, Room("e1", 1, 0), Room("e2", 1, 0)).items()} == {
        "e1": 51,  # what its slot begins with is not behind it
        "e2": 49,
    }


def test_who_is_behind_gets_none_of_the_last_tasks(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=60)))
    got = claimed(farm, job, Room("e1", 1, 200), Room("e2", 1, 100))
    assert {x: len(works) for x, works in got.items()} == {"e2": 60}


def test_who_runs_something_long_counts_for_nothing(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=60)))
    got = claimed(farm, job, Room("e1", 1, 1, held=1), Room("e2", 1, 50))
    assert {x: len(works) for x, works in got.items()} == {"e2": 60}


def test_far_from_the_end_all_get_as_much_as_they_can_take(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=2000)))
    got = claimed(farm, job, Room("e1", 1, 0), Room("e2", 1, 300))
    assert {x: len(works) for x, works in got.items()} == {"e1": 401, "e2": 101}


def claimed(farm: QueueFarm, job: int, *rooms: Room) -> dict[str, list[Work]]:
    """What they get when 400 of its tasks may wait behind a slot."""
    with farm.db.write() as tx:
        return Claim(tx, LANES, 1, farm.clock.now()).fill(list(rooms), {(job, 0): 400})
