"""What waits on an executor for its turn is told apart from what runs there."""

import pytest
from sqlalchemy import insert

from executors.contract import Event, EventKind
from farm import tables as t
from farm.cli.moments import progress
from farm.clock import micros
from farm.db import Database
from farm.model import Range, StepSpec
from farm.queue import settle
from tests.contract.queue_farm import QueueFarm


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
