"""One task of an array is cancelled before its turn: it never runs, every other does once, and the counters know."""

import random
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from farm import read
from farm.db import Database
from farm.integrity_rules import COUNTERS, MOVES, STATES
from farm.model import Range, StepSpec
from farm.observe import observe
from farm.queue.cancel import cancel
from farm.reference import parse_reference
from farm.refusal import Conflict, Refusal
from tests.contract.queue_farm import QueueFarm
from tests.contract.why_scenes import LOCAL

ORDERS = ("linear", "ends-first")


@pytest.fixture
def farm(db: Database) -> Iterator[QueueFarm]:
    yield QueueFarm(db)
    sound(db)


def array(last: int, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x", "{index}"), "array": Range(first=1, last=last), **more})


def drop(farm: QueueFarm, ref: str) -> int:
    with farm.db.write() as tx:
        return cancel(tx, parse_reference(ref), farm.clock.now()).tasks


def sound(db: Database) -> None:
    with db.read() as tx:
        rules = (*STATES, *COUNTERS, *MOVES)
        broken = [(rule.says, tuple(row)) for rule in rules for row in tx.execute(text(rule.query))]
    assert broken == []


def waiting(farm: QueueFarm) -> int:
    with farm.db.write() as tx:
        return sum(w.count for d in observe(tx, LOCAL, farm.clock.now()).demand for w in d.waiting)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("before", range(6))
def test_every_other_task_runs_once(farm: QueueFarm, order: str, before: int) -> None:
    job = farm.submit(array(7, order=order))
    first = [farm.claim()[0] for _ in range(before)]
    handed = {int(w.attempt.split(".")[1]) for w in first}
    early = sorted({1, 2, 4, 7} - handed)
    assert [drop(farm, f"{job}.{n}") for n in early] == [1] * len(early)
    assert waiting(farm) == 7 - before - len(early)
    sound(farm.db)
    rest = [int(attempt.split(".")[1]) for attempt in farm.run(job)]
    farm.finish(first)
    assert sorted([*rest, *handed, *early]) == [1, 2, 3, 4, 5, 6, 7]
    counts = {"cancelled": len(early), "done": 7 - len(early)}
    assert farm.counts(job) == {state: n for state, n in counts.items() if n}
    assert farm.state(job) == ("cancelled" if early else "done")


def test_a_job_of_one_task_is_cancelled_by_it(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("x",)))
    drop(farm, f"{job}.1")
    assert (farm.state(job), farm.claim()) == ("cancelled", [])
    assert farm.retry(str(job)) == 1
    assert [w.attempt for w in farm.claim()] == [f"{job}.1.1"]


def test_what_comes_after_a_step_of_which_one_was_cancelled_is_skipped(farm: QueueFarm) -> None:
    job = farm.submit(array(2), array(3, name="then", after=("main",)))
    drop(farm, f"{job}.2")
    drop(farm, f"{job}.4")  # of a step that waits
    farm.run(job)
    assert farm.counts(job) == {"done": 1, "cancelled": 2, "skipped": 2}
    assert farm.retry(str(job)) == 4
    farm.run(job)
    assert farm.counts(job) == {"done": 5}


@pytest.mark.parametrize("order", ORDERS)
def test_cancelled_with_its_job_and_retried_each_task_runs_once(farm: QueueFarm, order: str) -> None:
    job = farm.submit(array(9, order=order))
    farm.finish(farm.claim(2))
    drop(farm, f"{job}.6")
    drop(farm, str(job))
    assert farm.counts(job) == {"done": 2, "cancelled": 7}
    assert farm.retry(str(job)) == 7
    assert waiting(farm) == 7
    assert len(set(farm.run(job))) == 7
    assert farm.counts(job) == {"done": 9}


def test_one_that_is_retried_before_its_turn_runs_once(farm: QueueFarm) -> None:
    job = farm.submit(array(4))
    drop(farm, f"{job}.3")
    farm.retry(f"{job}.3")
    assert waiting(farm) == 4
    assert sorted(farm.run(job)) == [f"{job}.{n}.1" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("order", ORDERS)
def test_a_list_of_tasks_names_each_once(farm: QueueFarm, order: str) -> None:
    job = farm.submit(array(8, order=order))
    farm.claim(3)
    drop(farm, f"{job}.5")
    with farm.db.read() as tx:
        listed = [task["ref"] for task in read.tasks(tx, job, "", 100, 0, every=True)]
    assert sorted(listed) == [f"{job}.{n}" for n in range(1, 9)]


def test_twice_is_refused(farm: QueueFarm) -> None:
    job = farm.submit(array(4))
    drop(farm, f"{job}.3")
    with pytest.raises(Conflict, match="cancelled already"):
        drop(farm, f"{job}.3")
    with pytest.raises(Refusal, match="no task 5"):
        drop(farm, f"{job}.5")


def test_while_others_claim_no_task_is_lost_or_run_when_cancelled(farm: QueueFarm) -> None:
    size = 300
    job = farm.submit(array(size, order="ends-first"))
    ran: list[str] = []

    def work() -> None:
        while works := farm.claim(3):
            ran.extend(work.attempt for work in works)
            farm.finish(works)

    def regret() -> None:
        dice = random.Random(5)
        for number in dice.sample(range(1, size + 1), size // 2):
            try:
                drop(farm, f"{job}.{number}")
            except Conflict:
                continue  # it ran, or runs

    threads = [threading.Thread(target=work), threading.Thread(target=work), threading.Thread(target=regret)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    work()
    tasks = farm.tasks(job)
    assert len(ran) == len(set(ran))
    assert Counter(tasks.values()).total() == size
    assert set(tasks.values()) == {"done", "cancelled"}
    assert farm.counts(job) == dict(Counter(tasks.values()))


def test_what_was_cancelled_with_its_job_stays_so_when_another_task_goes_again(farm: QueueFarm) -> None:
    job = farm.submit(array(9))
    farm.claim(1)
    drop(farm, str(job))
    farm.retry(f"{job}.1")
    with pytest.raises(Conflict, match="is cancelled already"):
        drop(farm, f"{job}.2")
    farm.run(job)
    assert farm.counts(job) == {"done": 1, "cancelled": 8}


def test_a_job_can_be_cancelled_task_retried_and_cancelled_again(farm: QueueFarm) -> None:
    job = farm.submit(array(9))
    farm.claim(1)
    drop(farm, f"{job}.2")
    drop(farm, str(job))
    farm.retry(f"{job}.1")
    drop(farm, str(job))
    assert farm.counts(job) == {"cancelled": 9}
    farm.retry(str(job))
    farm.run(job)
    assert farm.counts(job) == {"done": 9}


STORY = st.lists(st.tuples(st.sampled_from(["claim", "cancel", "cancel", "finish", "retry", "all"]), st.integers(1, 9)))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=STORY, order=st.sampled_from(ORDERS))
def test_in_any_order(empty: Path, story: list[tuple[str, int]], order: str) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(Database.file(Path(shutil.copy(empty, folder)))) as db:
        live(QueueFarm(db), story, order)


def live(farm: QueueFarm, story: list[tuple[str, int]], order: str) -> None:
    job, flying = farm.submit(array(9, order=order)), []
    for step, n in story:
        try:
            match step:
                case "claim":
                    flying += farm.claim(n)
                case "cancel":
                    drop(farm, f"{job}.{n}")
                case "finish":
                    farm.finish(flying[:n])
                    flying = flying[n:]
                case "retry":
                    farm.retry(f"{job}.{n}")
                case "all":
                    drop(farm, str(job)) if n > 5 else farm.retry(str(job))
        except Refusal:
            pass
        sound(farm.db)
    farm.finish(flying)
    farm.run(job)
    sound(farm.db)
    assert sum(farm.counts(job).values()) == 9
    assert set(farm.counts(job)) <= {"done", "cancelled"}
