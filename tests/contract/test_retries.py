"""Retry budgets by cause: lost infrastructure, licences, memory and real failures do not pay for each other."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from executors.contract import Work
from farm import tables as t
from farm.config import FarmConfig
from farm.model import ExecutorState, Item, Range, StepSpec
from farm.observe import observe
from farm.queue import quarantine, settle
from farm.queue.cancel import cancel
from farm.queue.verdict import DISK_PAUSE, HOSTS, LOSSES, PAUSE, PAUSE_MAX
from farm.reference import parse_reference
from tests.contract.queue_farm import MOST_MEMORY, QueueFarm, of


def step(**more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("render",), **more})


def task(farm: QueueFarm, job: int, number: int = 1) -> Any:
    with farm.db.read() as tx:
        return tx.execute(select(t.Task).where(t.Task.job == job, t.Task.number == number)).one()


def lose(farm: QueueFarm, executor: str = "e1") -> None:
    with farm.db.write() as tx:
        settle.lose(tx, executor, "it vanished", farm.clock.now())


LICENCE = step(licence_exit=77, licence_wait_s=3600)


def test_no_licence_is_no_failure_and_is_asked_for_after_a_pause(farm: QueueFarm) -> None:
    job = farm.submit(LICENCE)
    farm.finish(farm.claim(), exit=77)
    assert farm.state(job) == "queued"
    assert farm.claim() == []
    found = task(farm, job)
    assert (found.failures, found.losses, found.licences, found.cause) == (0, 0, 1, "licence")
    assert found.not_before == farm.clock.now() + PAUSE
    farm.clock.turn(PAUSE.total_seconds())
    farm.finish(farm.claim())
    assert farm.state(job) == "done"


def test_pauses_grow_up_to_a_limit(farm: QueueFarm) -> None:
    farm.submit(step(licence_exit=77))
    pauses = []
    for _ in range(8):
        farm.finish(farm.claim(), exit=77)
        pauses.append(task(farm, 1).not_before - farm.clock.now())
        farm.clock.turn(pauses[-1].total_seconds())
    assert pauses[:3] == [PAUSE, 2 * PAUSE, 4 * PAUSE]
    assert pauses[-1] == PAUSE_MAX


def test_a_licence_that_never_comes_fails_the_task_in_the_end(farm: QueueFarm) -> None:
    job = farm.submit(LICENCE)
    for _ in range(100):
        farm.finish(farm.claim(), exit=77)
        farm.clock.turn(PAUSE_MAX.total_seconds())
        if farm.state(job) == "failed":
            break
    found = task(farm, job)
    assert (found.state, found.cause) == ("failed", "licence")
    assert "no licence for 1 h" in found.message


def test_the_same_exit_without_the_option_is_a_failure(farm: QueueFarm) -> None:
    job = farm.submit(step())
    farm.finish(farm.claim(), exit=77)
    assert farm.state(job) == "failed"


def test_a_full_disk_is_no_failure_of_the_task_and_is_given_time(farm: QueueFarm) -> None:
    job = farm.submit(step())
    for lost in range(LOSSES):
        farm.finish(farm.claim(), exit=7, cause="disk")
        found = task(farm, job)
        assert (found.state, found.failures, found.losses, found.failed_on) == ("ready", 0, lost + 1, None)
        assert found.not_before == farm.clock.now() + DISK_PAUSE * 2**lost
        assert farm.claim() == []
        farm.clock.turn((DISK_PAUSE * 2**lost).total_seconds())
    farm.finish(farm.claim(), exit=7, cause="disk")
    assert (farm.state(job), task(farm, job).cause) == ("failed", "disk")


def test_what_waits_for_a_licence_orders_no_executor(farm: QueueFarm) -> None:
    job = farm.submit(LICENCE)
    farm.finish(farm.claim(), exit=77)

    def waiting() -> int:
        with farm.db.write() as tx:
            seen = observe(tx, FarmConfig(), farm.clock.now())
        return sum(w.count for d in seen.demand for w in d.waiting)

    assert waiting() == 0
    farm.clock.turn(PAUSE.total_seconds())
    assert waiting() == 1
    assert farm.counts(job) == {"ready": 1}


def test_out_of_memory_is_tried_once_more_with_twice_as_much(farm: QueueFarm) -> None:
    job = farm.submit(step(memory=1 << 30))
    first = farm.claim()
    assert first[0].memory_bytes == 1 << 30
    farm.finish(first, exit=-9, cause="memory")
    again = farm.claim()
    assert again[0].memory_bytes == 2 << 30
    farm.finish(again, exit=-9, cause="memory")
    found = task(farm, job)
    assert (found.state, found.cause, found.grown, found.failures) == ("failed", "memory", 1, 1)


def test_memory_grows_no_further_than_any_pool_goes(farm: QueueFarm) -> None:
    farm.submit(step(memory=5 << 30))
    farm.finish(farm.claim(), exit=-9, cause="memory")
    assert farm.claim()[0].memory_bytes == MOST_MEMORY


def test_without_more_memory_to_be_had_it_is_a_failure(farm: QueueFarm) -> None:
    job = farm.submit(step(memory=MOST_MEMORY))
    farm.finish(farm.claim(), exit=-9, cause="memory")
    assert farm.state(job) == "failed"


def test_maybe_out_of_memory_is_a_real_failure(farm: QueueFarm) -> None:
    job = farm.submit(step(memory=1 << 30))
    farm.finish(farm.claim(), exit=137, message="maybe out of memory")
    assert farm.state(job) == "failed"


def test_the_memory_it_needed_is_kept_through_a_loss_and_a_retry(farm: QueueFarm) -> None:
    job = farm.submit(step(memory=1 << 30))
    farm.finish(farm.claim(), exit=-9, cause="memory")
    farm.claim()
    lose(farm)
    works = farm.claim()
    assert works[0].memory_bytes == 2 << 30
    farm.finish(works, exit=1)
    farm.retry(str(job))
    assert farm.claim()[0].memory_bytes == 2 << 30


@pytest.mark.parametrize("cause", ["timeout", "silence", "output", "processes", ""])
def test_limits_count_as_real_failures(farm: QueueFarm, cause: str) -> None:
    job = farm.submit(step(retries=1))
    farm.finish(farm.claim(), exit=-9, cause=cause)
    assert (farm.state(job), task(farm, job).failures) == ("queued", 1)
    farm.finish(farm.claim(), exit=-9, cause=cause)
    assert (farm.state(job), task(farm, job).failures) == ("failed", 2)


def test_each_budget_pays_for_itself_alone(farm: QueueFarm) -> None:
    job = farm.submit(step(retries=1, licence_exit=77, memory=1 << 30))
    for _ in range(LOSSES):
        farm.claim()
        lose(farm)
    for _ in range(3):
        farm.finish(farm.claim(), exit=77)
        farm.clock.turn(PAUSE_MAX.total_seconds())
    farm.finish(farm.claim(), exit=-9, cause="memory")
    farm.finish(farm.claim(), exit=1)
    found = task(farm, job)
    assert (found.losses, found.licences, found.grown, found.failures) == (LOSSES, 3, 1, 1)
    farm.finish(farm.claim())
    assert farm.state(job) == "done"


def test_retry_gives_every_budget_again(farm: QueueFarm) -> None:
    job = farm.submit(step(retries=1, licence_exit=77))
    farm.finish(farm.claim(), exit=77)
    farm.clock.turn(PAUSE.total_seconds())
    for _ in range(2):
        farm.finish(farm.claim(), exit=1)
    farm.retry(str(job))
    found = task(farm, job)
    assert (found.failures, found.licences, found.licence_since, found.not_before, found.failed_on) == (
        0,
        0,
        None,
        None,
        None,
    )


def test_cancelling_ends_a_wait_for_a_licence(farm: QueueFarm) -> None:
    job = farm.submit(LICENCE)
    farm.finish(farm.claim(), exit=77)
    with farm.db.write() as tx:
        cancel(tx, parse_reference(f"{job}.1"), farm.clock.now())
    assert farm.state(job) == "cancelled"


# ── executors ──


def fail(farm: QueueFarm, works: list[Work], executor: str, **facts: object) -> quarantine.Quarantined:
    return report(farm, works, executor, **{"exit": 3, **facts})


def report(farm: QueueFarm, works: list[Work], executor: str, **facts: object) -> quarantine.Quarantined:
    settled = farm.finish(works, executor, **facts)
    with farm.db.write() as tx:
        return quarantine.look(tx, settled.outcomes, farm.clock.now())


def there(farm: QueueFarm, *executors: str, pool: str = "local") -> None:
    now = farm.clock.now()
    row = {"order": "o", "pool": pool, "site": "local", "state": ExecutorState.READY, "slots": 8, "price_nano": 0}
    row |= {"why": "", "ordered": now, "launched": now, "ready": now, "billed_until": now}
    with farm.db.write() as tx:
        for executor in executors:
            tx.execute(t.Executor.__table__.insert(), {"id": executor, **row})  # type: ignore[attr-defined]


def state(farm: QueueFarm, executor: str) -> tuple[str, str]:
    with farm.db.read() as tx:
        row = tx.execute(select(t.Executor).where(t.Executor.id == executor)).one()
    return row.state, row.why


def one_each(farm: QueueFarm, executor: str) -> tuple[list[Work], list[Work]]:
    """A running task of two different jobs."""
    farm.submit(step(), step(name="b"))
    farm.submit(step(), step(name="b"))
    works = farm.claim(4, executor)
    first = of(works[0])
    return [w for w in works if of(w) == first], [w for w in works if of(w) != first]


def test_two_jobs_that_fail_in_a_row_quarantine_an_executor(farm: QueueFarm) -> None:
    there(farm, "e1")
    mine, other = one_each(farm, "e1")
    assert fail(farm, mine[:1], "e1").executors == []
    found = fail(farm, other[:1], "e1", exit=-11)
    assert found.executors == ["e1"]
    how, why = state(farm, "e1")
    assert how == "draining"
    assert mine[0].attempt in why
    assert f"{other[0].attempt} (exit -11)" in why


def test_one_job_that_fails_again_and_again_is_its_own_fault(farm: QueueFarm) -> None:
    there(farm, "e1")
    mine, _ = one_each(farm, "e1")
    for work in mine:
        assert fail(farm, [work], "e1").executors == []


def test_a_step_that_fails_on_other_executors_too_convicts_none_of_them(farm: QueueFarm) -> None:
    there(farm, "e1", "e2")
    bad = farm.submit(step(array=Range(first=1, last=8)))
    on_e1, on_e2 = farm.claim(2, "e1"), farm.claim(2, "e2")
    fail(farm, on_e1[:1], "e1")
    fail(farm, on_e2[:1], "e2")
    for executor, rest in (("e1", on_e1[1:]), ("e2", on_e2[1:])):
        farm.submit(step(), owner="bob")
        other = [w for w in farm.claim(2, executor) if of(w) != bad]
        assert fail(farm, other, executor).executors == []  # bob's fails here alone, but the array does everywhere
        assert fail(farm, rest, executor).executors == []
    farm.submit(step(), owner="joe")
    another = [w for w in farm.claim(8, "e1") if of(w) != bad]
    assert fail(farm, another, "e1").executors == ["e1"]  # with bob's that makes two


def test_a_success_between_clears_an_executor(farm: QueueFarm) -> None:
    there(farm, "e1")
    mine, other = one_each(farm, "e1")
    fail(farm, mine[:1], "e1")
    report(farm, mine[1:], "e1")
    assert fail(farm, other[:1], "e1").executors == []


def test_a_secret_that_can_not_be_read_burns_no_attempts(farm: QueueFarm) -> None:
    """Nothing changes by itself: it fails at once, and is tried again when somebody says so."""
    job = farm.submit(step(retries=5))
    farm.finish(farm.claim(), exit=-1, cause="secret", message="the secret file:/k can't be read by the service: gone")
    found = task(farm, job)
    assert (found.state, found.attempts, found.failures, found.losses) == ("failed", 1, 0, 0)


@pytest.mark.parametrize(
    "facts", [{"cause": "lost"}, {"cause": "inputs"}, {"cause": "secret"}, {"exit": 77}, {"cause": "memory"}]
)
def test_what_is_no_real_failure_says_nothing_of_an_executor(farm: QueueFarm, facts: dict[str, object]) -> None:
    there(farm, "e1")
    for _ in range(2):
        farm.submit(step(licence_exit=77, memory=1 << 30))
    mine, other = farm.claim(2, "e1")
    fail(farm, [mine], "e1", **facts)
    assert fail(farm, [other], "e1", **facts).executors == []


def test_what_had_not_begun_there_goes_elsewhere_uncharged(farm: QueueFarm) -> None:
    there(farm, "e1")
    mine, other = one_each(farm, "e1")
    fail(farm, mine[:1], "e1")
    found = fail(farm, other[:1], "e1")
    waiting = [w.attempt for w in (*mine[1:], *other[1:])]
    assert sorted(found.attempts) == sorted(waiting)
    assert {task(farm, of(w), 2).state for w in (*mine[1:], *other[1:])} == {"ready"}
    assert task(farm, of(mine[1]), 2).losses == 0


def test_a_pool_whose_every_executor_fails_keeps_them_after_three_in_an_hour(farm: QueueFarm) -> None:
    sent = []
    for n in range(5):
        there(farm, f"e{n}")
        mine, other = one_each(farm, f"e{n}")
        fail(farm, mine, f"e{n}")
        sent += fail(farm, other, f"e{n}").executors
    assert sent == ["e0", "e1", "e2"]
    assert state(farm, "e4")[0] == "ready"
    farm.clock.turn(quarantine.WITHIN / timedelta(seconds=1))
    there(farm, "e9")
    mine, other = one_each(farm, "e9")
    fail(farm, mine, "e9")
    assert fail(farm, other, "e9").executors == ["e9"]


def test_pools_are_counted_apart(farm: QueueFarm) -> None:
    for n in range(4):
        there(farm, f"e{n}", pool=f"p{n}")
        mine, other = one_each(farm, f"e{n}")
        fail(farm, mine, f"e{n}")
        assert fail(farm, other, f"e{n}").executors == [f"e{n}"]


def test_failures_of_two_jobs_in_one_report_are_weighed_in_the_order_of_the_executor() -> None:
    def outcome(seq: int, job: int, good: bool) -> settle.Outcome:
        return settle.Outcome("e", seq, job, 0, f"{job}.1.1", good, 0 if good else 1, "")

    suspect, evidence = quarantine.weigh(None, [outcome(1, 1, False), outcome(2, 1, True), outcome(3, 2, False)])
    assert (suspect["job"], evidence) == (2, [])
    suspect, evidence = quarantine.weigh(suspect, [outcome(4, 3, False), outcome(5, 3, True)])
    assert suspect is None
    assert [e["job"] for e in evidence] == [2, 3]


def test_a_task_that_fails_on_three_executors_fails_whatever_its_retries(farm: QueueFarm) -> None:
    job = farm.submit(step(retries=50))
    for n in range(HOSTS):
        farm.finish(farm.claim(executor=f"e{n}"), f"e{n}", exit=3)
    found = task(farm, job)
    assert (found.state, found.failures) == ("failed", HOSTS)
    assert found.message == "failed on 3 different executors (e0, e1, e2), last: exit 3"


def test_on_one_executor_a_task_has_all_its_retries(farm: QueueFarm) -> None:
    job = farm.submit(step(retries=6))
    assert len(farm.run(job, fail=lambda _: True)) == 7


def test_a_task_prefers_an_executor_on_which_it_has_not_failed(farm: QueueFarm) -> None:
    farm.submit(step(retries=3))
    farm.finish(farm.claim(executor="e1"), "e1", exit=3)
    assert list(farm.claim_on({"e1": 4, "e2": 1})) == ["e2"]
    lose(farm, "e2")
    assert list(farm.claim_on({"e1": 4})) == ["e1"]


def test_others_of_its_job_still_go_to_that_executor(farm: QueueFarm) -> None:
    farm.submit(step(retries=3, array=Range(first=1, last=3)))
    works = farm.claim(1, "e1")
    farm.finish(works, "e1", exit=3)
    given = farm.claim_on({"e1": 1, "e2": 1, "e3": 1})
    assert set(given) == {"e1", "e2", "e3"}
    assert works[0].argv == given["e2"][0].argv


def test_items_keep_their_budgets_too(farm: QueueFarm) -> None:
    items = (Item(name="a", argv=("build",)), Item(name="b", argv=("build",), after=("a",)))
    job = farm.submit(StepSpec(items=items, retries=1, licence_exit=5))
    farm.finish(farm.claim(), exit=5)
    assert farm.tasks(job) == {"a": "ready", "b": "blocked"}
    farm.clock.turn(PAUSE.total_seconds())
    farm.finish(farm.claim(), exit=1)
    farm.finish(farm.claim())
    assert farm.tasks(job) == {"a": "done", "b": "ready"}


# ── what an executor itself reports as lost ──


def test_what_executors_report_lost_is_capped_too(farm: QueueFarm) -> None:
    job = farm.submit(step())
    for n in range(1, LOSSES + 1):
        farm.finish(farm.claim(), exit=-9, cause="lost", message="its keeper ended")
        assert (farm.state(job), task(farm, job).losses, task(farm, job).failures) == ("queued", n, 0)
    farm.finish(farm.claim(), exit=-9, cause="lost", message="its keeper ended")
    assert farm.state(job) == "failed"
    assert task(farm, job).message == f"lost {LOSSES + 1} times by its executors, last: its keeper ended"
    assert farm.claim() == []


@pytest.mark.parametrize("cause", ["cancelled", "stale-term"])
def test_what_was_ended_by_the_farm_is_free_for_ever(farm: QueueFarm, cause: str) -> None:
    job = farm.submit(step())
    for _ in range(3 * LOSSES):
        farm.finish(farm.claim(), exit=-15, cause=cause)
    assert (farm.state(job), task(farm, job).losses) == ("queued", 0)
