"""Neither the queue nor who looks at it reads all rows of a table that only grows: the plans of SQLite say so, the same
on every computer."""

import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from farm import overview, read
from farm.config import FarmConfig
from farm.db import Database
from farm.forgetting import forget
from farm.model import Item, Range, StepSpec
from farm.observe import observe
from farm.queue.cancel import cancel
from farm.queue.hold import hold, release
from farm.queue.setting import Setting, change
from farm.queue.start_after import release_due
from farm.reference import parse_reference
from farm.spending import Spending
from farm.why.look import Look
from farm.why.work import job as why_job
from tests.contract.queue_farm import LANES, QueueFarm

SMALL = "task_open|task_bad|task_waiting|task_short|task_lead|attempt_open|step_waiting|step_due"
"""Partial indexes: of what is open, or went wrong."""
WHOLE = re.compile(rf"SCAN (task|attempt|step|job|executor|ledger)\b(?! USING (COVERING )?INDEX ({SMALL}))")
OF_A_JOB = re.compile(r"SEARCH (task|attempt) USING (COVERING )?INDEX sqlite_autoindex_\w+ \(job=\?\)")
"""All tasks of a job, or all attempts."""


@pytest.fixture
def farm(tmp_path, empty):
    db = Database.file(Path(shutil.copy(empty, tmp_path)))
    yield QueueFarm(db)
    db.close()


def plans(farm: QueueFarm, act: Callable[[], object]) -> list[str]:
    """What SQLite does for each statement that `act` executes, as `step of the plan: statement`."""
    seen: dict[str, object] = {}

    def note(_connection, _cursor, statement, parameters, _context, many) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            seen.setdefault(statement, parameters[0] if many else parameters)

    event.listen(farm.db.engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(farm.db.engine, "before_cursor_execute", note)
    assert seen
    with farm.db.engine.connect() as tx:
        driver = tx.connection.driver_connection
        return [
            f"{row[3]}: {' '.join(statement.split())}"
            for statement, parameters in seen.items()
            for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def reads_all(farm: QueueFarm, act: Callable[[], object]) -> list[str]:
    found = plans(farm, act)
    return [plan for plan in found if (WHOLE.match(plan) or OF_A_JOB.match(plan)) and " LIMIT " not in plan]


def writing(farm: QueueFarm, act: Callable[..., object], *about: object) -> Callable[[], object]:
    def made() -> object:
        with farm.db.write() as tx:
            return act(tx, *about)

    return made


def reading(farm: QueueFarm, act: Callable[..., object], *about: object) -> Callable[[], object]:
    def made() -> object:
        with farm.db.read() as tx:
            return act(tx, *about)

    return made


def array(farm: QueueFarm) -> int:
    """Begun: some have ended, some well, and one runs."""
    job = farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=100)))
    farm.finish(farm.claim(6))
    farm.finish(farm.claim(2), exit=3)
    farm.claim(1)
    return job


ACTS = {
    "cancel": lambda farm, job: writing(farm, cancel, parse_reference(f"{job}"), farm.clock.now()),
    "cancel a task": lambda farm, job: writing(farm, cancel, parse_reference(f"{job}.9"), farm.clock.now()),
    "hold": lambda farm, job: writing(farm, hold, job),
    "set": lambda farm, job: writing(farm, change, job, Setting(priority=7), LANES, farm.clock.now()),
    "jobs": lambda farm, _: reading(farm, read.jobs, "", "", 50),
    "show": lambda farm, job: reading(farm, read.job, job),
    "why": lambda farm, job: reading(farm, lambda tx: why_job(Look(tx, FarmConfig(), farm.clock.now()), job)),
    "observe": lambda farm, _: reading(farm, observe, FarmConfig(), farm.clock.now()),
    "executors": lambda farm, _: reading(farm, overview.executors, False),
    "status": lambda farm, _: reading(farm, lambda tx: tx.execute(overview._JOBS).all()),
    "claim": lambda farm, _: lambda: farm.claim(4),
    "finish": lambda farm, _: lambda: farm.finish(farm.claim(5)),
    **{
        f"show --state {state}": lambda farm, job, state=state: reading(farm, read.tasks, job, state, 50, 0)
        for state in ("blocked", "ready", "running", "failed", "cancelled", "skipped")
    },
}


@pytest.mark.parametrize("name", ACTS)
def test_no_more_is_read_than_is_open_or_asked_for(farm, name):
    job = array(farm)
    assert reads_all(farm, ACTS[name](farm, job)) == []


@pytest.mark.parametrize("state", ["blocked", "ready"])
def test_the_few_that_wait_are_not_looked_for_among_the_many_that_have_ended(farm, state):
    """A limit does not bound what is passed over on the way to it."""
    job = array(farm)
    found = plans(farm, reading(farm, read.tasks, job, state, 50, 0))
    assert [plan for plan in found if "USING INDEX task_open" in plan]
    assert [plan for plan in found if OF_A_JOB.match(plan)] == []


def test_what_budgets_have_left_is_known_without_a_look_at_attempts_that_have_ended(farm):
    array(farm)
    config = FarmConfig.model_validate({"budgets": {"films": {"amount": 1}}})
    found = plans(farm, reading(farm, Spending().told, config, farm.clock.now()))
    assert [plan for plan in found if "USING INDEX attempt_open" in plan]
    assert [plan for plan in found if plan.startswith("SCAN attempt") and WHOLE.match(plan)] == []


def test_a_held_job_goes_on_without_a_look_at_what_has_ended(farm):
    job = array(farm)
    writing(farm, hold, job)()
    assert reads_all(farm, writing(farm, release, job)) == []


def test_whose_time_has_come_is_not_looked_for_among_all_that_people_ever_did(farm):
    job = array(farm)
    writing(farm, hold, job)()
    found = plans(farm, writing(farm, release_due, farm.clock.now()))
    acts = [plan for plan in found if plan.startswith(("SEARCH act ", "SCAN act"))]
    assert acts
    assert [plan for plan in acts if "USING INDEX act_about (kind=? AND name=?)" not in plan] == []


def test_what_failed_goes_again_without_a_look_at_what_succeeded(farm):
    job = farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=9)))
    farm.run(job, fail=lambda work: work.attempt.endswith(("3.1", "7.1")))
    again: list[int] = []
    assert reads_all(farm, lambda: again.append(farm.retry(f"{job}"))) == []
    assert again == [2]


def test_forgetting_a_job_reads_no_other_executors(farm):
    job = farm.submit(StepSpec(argv=("true",)))
    farm.run(job)
    farm.submit(StepSpec(argv=("true",)))
    farm.clock.turn(10)
    found = plans(farm, lambda: forget(farm.db, farm.clock.now() - timedelta(seconds=1)))
    assert [plan for plan in found if plan.startswith("SCAN executor")] == []
    assert any("executor_job" in plan for plan in found)


def test_why_of_a_failed_job_finds_the_first_that_failed_by_its_index(farm):
    job = farm.submit(StepSpec(argv=("true",), array=Range(first=1, last=3)))
    farm.run(job, fail=lambda work: work.attempt.endswith("2.1"))
    act = reading(farm, lambda tx: why_job(Look(tx, FarmConfig(), farm.clock.now()), job))
    assert any("task_bad" in plan for plan in plans(farm, act))


def test_a_thousand_jobs_are_listed_with_as_many_questions_as_one(farm):
    def asked() -> int:
        return len(plans(farm, reading(farm, read.jobs, "", "", 50)))

    array(farm)
    few = asked()
    for _ in range(12):
        farm.submit(StepSpec(items=(Item(name="a", argv=("true",)), Item(name="b", argv=("true",), after=("a",)))))
    many: list[str] = []

    def note(_connection, _cursor, statement, *_more) -> None:
        many.append(statement)

    event.listen(farm.db.engine, "before_cursor_execute", note)
    reading(farm, read.jobs, "", "", 50)()
    event.remove(farm.db.engine, "before_cursor_execute", note)
    assert few > 0
    assert len(many) <= 8
