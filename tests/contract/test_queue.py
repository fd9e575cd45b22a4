"""The queue's contract, against every database that Farm supports."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from farm import read
from farm import tables as t
from farm.config import FarmConfig
from farm.model import File, Item, Range, StepSpec
from farm.observe import observe
from farm.queue import settle
from farm.queue.cancel import cancel
from farm.queue.retry import retry
from farm.reference import parse_reference
from farm.refusal import Conflict, NotFound, Refusal
from tests.contract.queue_farm import ON_ONE, QueueFarm, made, of

TRUE = StepSpec(argv=("true",))


def array(last: int, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("echo", "{index}"), "array": Range(first=1, last=last), **more})


def test_one_task_goes_from_queued_to_done(farm: QueueFarm) -> None:
    job = farm.submit(TRUE)
    assert farm.state(job) == "queued"
    works = farm.claim()
    assert [w.attempt for w in works] == [f"{job}.1.1"]
    assert farm.state(job) == "running"
    farm.finish(works)
    assert farm.state(job) == "done"
    assert farm.claim() == []


def test_array_needs_no_rows_before_it_runs(farm: QueueFarm) -> None:
    job = farm.submit(array(1_000_000))
    assert farm.tasks(job) == {}
    assert [w.argv[1] for w in farm.claim(3)] == ["1", "2", "3"]
    assert len(farm.tasks(job)) == 3
    assert farm.job(job)["tasks"] == {
        "total": 1_000_000,
        "blocked": 0,
        "ready": 999_997,
        "running": 3,
        "done": 0,
        "failed": 0,
        "cancelled": 0,
        "skipped": 0,
        "claimed": 3,
    }


def test_chunks_cover_the_range_once(farm: QueueFarm) -> None:
    step = StepSpec(argv=("r", "{first}", "{last}", "{step}"), array=Range(first=2, last=21, step=3), chunk=3)
    job = farm.submit(step)
    assert [w.argv[1:] for w in farm.claim(9)] == [("2", "8", "3"), ("11", "17", "3"), ("20", "20", "3")]
    assert set(farm.tasks(job)) == {"2-8", "11-17", "20"}


def test_ends_first_hands_out_first_middle_last(farm: QueueFarm) -> None:
    farm.submit(array(7, order="ends-first"))
    assert [w.argv[1] for w in farm.claim(7)] == ["1", "4", "7", "2", "3", "5", "6"]


def test_only_exact_tokens_are_replaced(farm: QueueFarm) -> None:
    farm.submit(StepSpec(argv=("sh", "-c", "echo {index} {} {i} ${HOME} {{index}}"), array=Range(first=5, last=5)))
    assert farm.claim()[0].argv[2] == "echo 5 {} {i} ${HOME} {5}"


def test_due_order_and_priority(farm: QueueFarm) -> None:
    late = farm.submit(TRUE)
    farm.clock.turn(1)
    early = farm.submit(TRUE, priority=10)
    assert [w.attempt for w in farm.claim(2)] == [f"{early}.1.1", f"{late}.1.1"]


def test_lanes_share_by_weight_and_none_starves(farm: QueueFarm) -> None:
    farm.submit(array(1000, predicted_s=10), lane="bulk")
    farm.submit(array(1000, predicted_s=10), lane="interactive")
    jobs = [int(farm.claim(1)[0].attempt.split(".")[0]) for _ in range(50)]
    assert 36 <= jobs.count(2) <= 44  # weights 1 and 4


def test_a_lane_that_was_away_has_no_claim_on_the_past(farm: QueueFarm) -> None:
    farm.submit(array(100, predicted_s=10), lane="bulk")
    for _ in range(50):
        farm.claim(1)
    farm.submit(array(100, predicted_s=10), lane="default")
    jobs = [farm.claim(1)[0].attempt.split(".")[0] for _ in range(12)]
    assert 2 <= jobs.count("1") <= 6


@ON_ONE
def test_a_lane_far_behind_that_was_idle_shares_by_weight(farm: QueueFarm) -> None:
    farm.submit(array(1, predicted_s=10), lane="bulk")
    farm.claim(1)
    farm.submit(array(1000, predicted_s=1000))
    for _ in range(200):
        farm.claim(1)  # default stands at 100 000 now, bulk at 10
    late = farm.submit(array(300, predicted_s=10), lane="bulk")
    farm.submit(array(300, predicted_s=10), priority=100)
    jobs = [of(farm.claim(1)[0]) for _ in range(300)]
    assert 95 <= jobs.count(late) <= 150  # weights 1 and 2; bulk starts where default was when it was served last


def test_lanes_that_were_both_away_start_level(farm: QueueFarm) -> None:
    farm.submit(array(1, predicted_s=10), lane="bulk")
    farm.claim(1)
    farm.submit(array(1, predicted_s=100_000))
    farm.claim(1)
    late = farm.submit(array(90, predicted_s=10), lane="bulk")
    farm.submit(array(90, predicted_s=10))
    jobs = [of(farm.claim(1)[0]) for _ in range(90)]
    assert 25 <= jobs.count(late) <= 35


def test_a_lane_that_waits_all_the_time_keeps_what_it_is_owed(farm: QueueFarm) -> None:
    bulk = farm.submit(array(100, predicted_s=10), lane="bulk")
    farm.claim(1)
    farm.submit(array(1, predicted_s=1000))
    assert of(farm.claim(1)[0]) != bulk  # the new lane starts level and is heavier
    farm.submit(array(100, predicted_s=10))
    assert {of(farm.claim(1)[0]) for _ in range(40)} == {bulk}


def test_large_steps_do_not_hide_small_ones(farm: QueueFarm) -> None:
    for _ in range(70):
        farm.submit(StepSpec(argv=("make",), cpu=2))
    farm.clock.turn(3600)
    small = farm.submit(TRUE)
    assert [of(w) for w in farm.claim(1)] == [small]
    assert farm.claim(1) == []


def test_large_tasks_do_not_hide_small_ones(farm: QueueFarm) -> None:
    farm.submit(StepSpec(items=tuple(item(f"p{i}") for i in range(100)), cpu=2))
    farm.clock.turn(3600)
    small = farm.submit(packages(item("a")))
    assert [of(w) for w in farm.claim(1)] == [small]


def test_overdue_bulk_does_not_hide_an_interactive_job(farm: QueueFarm) -> None:
    for _ in range(70):
        farm.submit(StepSpec(argv=("true",), predicted_s=10), lane="bulk")
    farm.clock.turn(100_000)
    quick = farm.submit(StepSpec(argv=("true",), predicted_s=10), lane="interactive")
    assert quick in [of(farm.claim(1)[0]) for _ in range(2)]


def test_failure_uses_retries_then_fails(farm: QueueFarm) -> None:
    job = farm.submit(array(2, retries=2))
    order = farm.run(job, fail=lambda w: w.argv[1] == "2")
    assert [a for a in order if a.startswith(f"{job}.2")] == [f"{job}.2.1", f"{job}.2.2", f"{job}.2.3"]
    assert farm.tasks(job) == {"1": "done", "2": "failed"}
    assert farm.state(job) == "failed"


def test_missing_program_is_not_retried(farm: QueueFarm) -> None:
    job = farm.submit(array(1, retries=5))
    farm.finish(farm.claim(), exit=127, cause="no-program", message="there is no program echo")
    assert farm.state(job) == "failed"


def test_lost_executor_requeues_without_charge(farm: QueueFarm) -> None:
    job = farm.submit(array(1))
    farm.claim()
    with farm.db.write() as tx:
        settle.lose(tx, "e1", "it vanished", farm.clock.now())
    assert farm.tasks(job) == {"1": "ready"}
    farm.finish(farm.claim(executor="e2"), executor="e2")
    assert farm.state(job) == "done"


def test_a_task_that_kills_every_executor_fails_at_last(farm: QueueFarm) -> None:
    job = farm.submit(array(1))
    for _ in range(settle.LOSSES + 1):
        farm.claim()
        with farm.db.write() as tx:
            settle.lose(tx, "e1", "it vanished", farm.clock.now())
    assert farm.state(job) == "failed"
    assert farm.claim() == []


def test_a_late_result_is_refused_and_kept(farm: QueueFarm) -> None:
    job = farm.submit(array(1))
    late = farm.claim()
    with farm.db.write() as tx:
        settle.lose(tx, "e1", "it vanished", farm.clock.now())
    again = farm.claim(executor="e2")
    farm.finish(late, outputs=(made("x"),))
    assert farm.state(job) == "running"
    farm.finish(again, executor="e2", outputs=(made("y", "1"),))
    with farm.db.read() as tx:
        kept = tx.execute(select(t.Refused.attempt)).scalars().all()
        task = tx.execute(select(t.Task.accepted, t.Task.outputs)).one()
    assert kept == [f"{job}.1.1"]
    assert (task.accepted, task.outputs[0]["digest"]) == (2, "1" * 64)


def test_a_result_twice_counts_once(farm: QueueFarm) -> None:
    job = farm.submit(array(2))
    works = farm.claim(2)
    farm.finish(works[:1])
    farm.finish(works[:1])
    assert farm.job(job)["tasks"]["done"] == 1  # type: ignore[index]


def test_steps_wait_and_gather(farm: QueueFarm) -> None:
    film = StepSpec(name="film", argv=("ffmpeg",), after=("main",), gather="frames")
    job = farm.submit(array(2), film)
    works = farm.claim(4)
    assert len(works) == 2
    for work in works:
        farm.finish([work], outputs=(made(f"f{work.argv[1]}.png"),))
    last = farm.claim(4)
    assert [i.path for i in last[0].inputs] == ["frames/f1.png", "frames/f2.png"]
    farm.finish(last)
    assert farm.state(job) == "done"


def test_a_failed_step_skips_what_comes_after_it(farm: QueueFarm) -> None:
    steps = array(2), array(3, name="b", after=("main",)), array(3, name="c", after=("b",))
    job = farm.submit(*steps)
    farm.run(job, fail=lambda w: w.argv[1] == "1")
    assert farm.state(job) == "failed"
    assert farm.job(job)["tasks"]["skipped"] == 6  # type: ignore[index]


def packages(*items: Item) -> StepSpec:
    return StepSpec(items=items, gather="wheels")


def item(name: str, *after: str, **more: object) -> Item:
    return Item.model_validate({"name": name, "argv": ("build", name), "after": after, **more})


def test_items_run_in_order_of_their_dependencies(farm: QueueFarm) -> None:
    farm.submit(packages(item("c", "b", "a"), item("a"), item("b", "a")), kind="packages")
    order = []
    while works := farm.claim(4):
        order += [w.argv[1] for w in works]
        for work in works:
            farm.finish([work], outputs=(made(f"{work.argv[1]}.whl"),))
    assert order == ["a", "b", "c"]


def test_unchanged_items_are_skipped_when_nothing_new_arrives(farm: QueueFarm) -> None:
    old = File(path="dist/a.whl", digest="0" * 64, size=3)
    kept = File(path="dist/b.whl", digest="7" * 64, size=3)
    items = item("a", previous=(old,)), item("b", "a", changed=False, previous=(kept,)), item("c", "b", changed=False)
    job = farm.submit(packages(*items), kind="packages")
    farm.finish(farm.claim(), outputs=(made("a.whl", "0"),))
    assert farm.tasks(job) == {"a": "done", "b": "skipped", "c": "skipped"}
    assert farm.state(job) == "done"


def test_items_behind_a_new_output_are_built(farm: QueueFarm) -> None:
    old = File(path="dist/a.whl", digest="0" * 64, size=3)
    job = farm.submit(packages(item("a", previous=(old,)), item("b", "a", changed=False)), kind="packages")
    farm.finish(farm.claim(), outputs=(made("a.whl", "1"),))
    assert farm.tasks(job) == {"a": "done", "b": "ready"}


def test_items_behind_a_failure_are_skipped(farm: QueueFarm) -> None:
    job = farm.submit(packages(item("a"), item("b", "a"), item("c", "b"), item("d")), kind="packages")
    farm.run(job, fail=lambda w: w.argv[1] == "a")
    assert farm.tasks(job) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "done"}
    assert farm.state(job) == "failed"


def test_a_cycle_is_named(farm: QueueFarm) -> None:
    with pytest.raises(Refusal, match="a → b → c → a"):
        farm.submit(packages(item("a", "b"), item("b", "c"), item("c", "a")))


def test_job_after_job(farm: QueueFarm) -> None:
    first = farm.submit(TRUE)
    second = farm.submit(TRUE, after=(first,))
    assert [w.attempt for w in farm.claim(4)] == [f"{first}.1.1"]
    farm.clock.turn(1)
    works = list(farm.claim(4))
    assert works == []
    with farm.db.read() as tx:
        running = tx.execute(select(t.Attempt.token)).scalars().all()
    farm.finish([_again(first, running[0])])
    assert [w.attempt for w in farm.claim(4)] == [f"{second}.1.1"]


def _again(job: int, token: int):  # type: ignore[no-untyped-def]
    from executors.contract import Work

    return Work(f"{job}.1.1", token, 1, ("true",))


def test_a_job_behind_a_failed_job_is_cancelled(farm: QueueFarm) -> None:
    first = farm.submit(TRUE)
    second = farm.submit(TRUE, after=(first,))
    third = farm.submit(TRUE, after=(second,))
    farm.finish(farm.claim(), exit=1)
    assert [farm.state(j) for j in (first, second, third)] == ["failed", "cancelled", "cancelled"]
    assert f"job {first}" in str(farm.job(second)["why"])


def test_cancel_ends_everything_of_a_job(farm: QueueFarm) -> None:
    job = farm.submit(array(100))
    farm.claim(3)
    with farm.db.write() as tx:
        done = cancel(tx, parse_reference(str(job)), farm.clock.now())
    assert len(done.attempts) == 3
    assert done.tasks == 100
    assert farm.state(job) == "cancelled"
    assert farm.claim(4) == []
    with farm.db.write() as tx, pytest.raises(Conflict):
        cancel(tx, parse_reference(str(job)), farm.clock.now())


def test_the_result_of_a_cancelled_task_is_not_used(farm: QueueFarm) -> None:
    job = farm.submit(TRUE)
    works = farm.claim()
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    farm.finish(works)
    assert farm.state(job) == "cancelled"


def test_retry_runs_what_failed_and_what_was_behind_it(farm: QueueFarm) -> None:
    job = farm.submit(packages(item("a"), item("b", "a"), item("d")), kind="packages")
    farm.run(job, fail=lambda w: w.argv[1] == "a")
    with farm.db.write() as tx:
        again, _ = retry(tx, parse_reference(str(job)))
    assert again == 2
    assert farm.state(job) == "queued"
    farm.run(job)
    assert farm.tasks(job) == {"a": "done", "b": "done", "d": "done"}
    assert farm.state(job) == "done"


def test_retry_after_cancel_goes_on_where_it_was(farm: QueueFarm) -> None:
    job = farm.submit(array(10), array(2, name="b", after=("main",)))
    farm.finish(farm.claim(3))
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    assert farm.job(job)["tasks"]["done"] == 3  # type: ignore[index]
    with farm.db.write() as tx:
        retry(tx, parse_reference(str(job)))
    farm.run(job)
    assert farm.state(job) == "done"
    assert farm.job(job)["tasks"]["done"] == 12  # type: ignore[index]


def test_retry_keeps_the_order_of_steps(farm: QueueFarm) -> None:
    late = StepSpec(name="late", items=(item("x"), item("y", "x")), after=("main",))
    job = farm.submit(array(2), late)
    farm.run(job, fail=lambda w: w.argv[1] == "2")
    assert farm.tasks(job) == {"1": "done", "2": "failed", "x": "skipped", "y": "skipped"}
    with farm.db.write() as tx:
        retry(tx, parse_reference(str(job)))
    assert farm.tasks(job) == {"1": "done", "2": "ready", "x": "blocked", "y": "blocked"}
    assert [w.argv[1] for w in farm.claim(4)] == ["2"]


def test_retry_of_one_task_after_the_other_counts_both(farm: QueueFarm) -> None:
    job = farm.submit(packages(item("a"), item("b")), kind="packages")
    farm.run(job, fail=lambda _: True)
    assert farm.retry(f"{job}.1") == 1
    assert farm.state(job) == "queued"
    assert farm.retry(f"{job}.2") == 1
    assert farm.counts(job) == {"ready": 2}
    farm.run(job)
    assert farm.state(job) == "done"
    assert farm.counts(job) == {"done": 2}


def test_retry_leaves_a_held_job_held_and_a_running_one_running(farm: QueueFarm) -> None:
    held = farm.submit(packages(item("a"), item("b")), held=True)
    with farm.db.write() as tx:
        cancel(tx, parse_reference(f"{held}.1"), farm.clock.now())
    farm.retry(f"{held}.1")
    assert (farm.state(held), farm.counts(held)) == ("held", {"ready": 2})
    running = farm.submit(array(2))
    farm.finish(farm.claim(2)[:1], exit=3)
    farm.retry(f"{running}.1")
    assert (farm.state(running), farm.counts(running)) == ("running", {"ready": 1, "running": 1})


def test_a_task_that_goes_again_waits_for_what_still_runs(farm: QueueFarm) -> None:
    job = farm.submit(packages(item("a"), item("b"), item("c", "a", "b")), kind="packages")
    works = farm.claim(2)
    farm.finish(works[:1], exit=3)
    farm.retry(f"{job}.1")
    farm.finish(farm.claim(1))
    assert farm.tasks(job) == {"a": "done", "b": "running", "c": "blocked"}
    farm.finish(works[1:])
    assert farm.tasks(job)["c"] == "ready"


def test_retry_of_a_task_leaves_what_is_behind_other_failures(farm: QueueFarm) -> None:
    items = item("a"), item("b"), item("x", "a"), item("y", "b"), item("z", "x", "b"), item("w", "x")
    job = farm.submit(packages(*items), kind="packages")
    farm.run(job, fail=lambda _: True)
    assert farm.retry(f"{job}.1") == 3
    states = {"a": "ready", "b": "failed", "x": "blocked", "y": "skipped", "z": "skipped", "w": "blocked"}
    assert farm.tasks(job) == states
    farm.run(job)
    assert (farm.state(job), farm.counts(job)) == ("failed", {"done": 3, "failed": 1, "skipped": 2})


def test_retry_of_a_task_takes_the_steps_behind_it_along(farm: QueueFarm) -> None:
    job = farm.submit(array(2), array(3, name="b", after=("main",)), array(1, name="c", after=("b",)))
    farm.run(job, fail=lambda _: True)
    assert farm.counts(job) == {"failed": 2, "skipped": 4}
    assert farm.retry(f"{job}.1") == 1  # b stays behind the other one
    farm.run(job)
    assert (farm.state(job), farm.counts(job)) == ("failed", {"done": 1, "failed": 1, "skipped": 4})
    assert farm.retry(f"{job}.2") == 5
    assert farm.counts(job) == {"done": 1, "ready": 1, "blocked": 4}
    farm.run(job)
    assert (farm.state(job), farm.counts(job)) == ("done", {"done": 6})


def test_retry_of_a_cancelled_task_keeps_the_count_of_the_others(farm: QueueFarm) -> None:
    job = farm.submit(array(10))
    farm.claim(3)
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    farm.retry(f"{job}.1")
    farm.run(job)
    assert (farm.state(job), farm.counts(job)) == ("cancelled", {"done": 1, "cancelled": 9})


def test_retry_of_a_task_whose_own_needs_failed_is_refused(farm: QueueFarm) -> None:
    job = farm.submit(packages(item("a"), item("b", "a")), kind="packages")
    with farm.db.write() as tx:
        cancel(tx, parse_reference(f"{job}.2"), farm.clock.now())
    farm.run(job, fail=lambda _: True)
    with pytest.raises(Conflict, match=f"what {job}.2 comes after failed"):
        farm.retry(f"{job}.2")


def test_retry_of_a_job_behind_a_failed_job_is_refused(farm: QueueFarm) -> None:
    first = farm.submit(TRUE)
    second = farm.submit(TRUE, after=(first,))
    farm.finish(farm.claim(), exit=1)
    with pytest.raises(Refusal, match=f"job {first} is failed") as caught:
        farm.retry(str(second))
    assert (caught.value.where, caught.value.remedy) == ("--after", f"type `farm retry {first}` first")
    farm.retry(str(first))
    farm.retry(str(second))
    farm.run(first)
    assert [farm.state(j) for j in (first, second)] == ["done", "done"]


@pytest.mark.parametrize("text", ["", "x", "0", "1.0", "1.2.3.4", "-1", "1.", "99999999999999999999"])
def test_nonsense_references_are_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parse_reference(text)


def test_unknown_things_are_refused(farm: QueueFarm) -> None:
    with pytest.raises(Refusal, match="no lane"):
        farm.submit(TRUE, lane="fast")
    with pytest.raises(Refusal, match="no job 9"):
        farm.submit(TRUE, after=(9,))
    with farm.db.write() as tx, pytest.raises(NotFound):
        cancel(tx, parse_reference("9"), farm.clock.now())


def test_large_executor_is_needed_for_a_large_task(farm: QueueFarm) -> None:
    farm.submit(StepSpec(argv=("make",), cpu=4))
    assert farm.claim(2) == []
    assert len(farm.claim(4)) == 1


def test_short_tasks_may_wait_behind_a_slot(farm: QueueFarm) -> None:
    job = farm.submit(array(100))
    assert len(farm.claim(2)) == 2
    assert len(farm.claim(2, depth={(job, 0): 9})) == 20


def refused(farm: QueueFarm, ref: str) -> list[dict[str, object]]:
    with farm.db.read() as tx:
        return list(read.task(tx, parse_reference(ref))["attempts"][0]["refused"])


def test_a_refused_result_is_shown_with_its_attempt(farm: QueueFarm) -> None:
    job = farm.submit(TRUE)
    late = farm.claim()
    with farm.db.write() as tx:
        settle.lose(tx, "e1", "it vanished", farm.clock.now())
    farm.claim(executor="e2")
    assert refused(farm, f"{job}.1.1") == []
    farm.finish(late, exit=3)
    found = refused(farm, f"{job}.1.1")
    assert [(r["executor"], r["exit"], r["token"]) for r in found] == [("e1", 3, late[0].token)]
    assert refused(farm, f"{job}.1.2") == []
    with farm.db.read() as tx, pytest.raises(NotFound, match="no attempt 3"):
        read.task(tx, parse_reference(f"{job}.1.3"))


def test_a_result_with_a_foreign_token_or_executor_is_kept_as_evidence(farm: QueueFarm) -> None:
    job = farm.submit(TRUE)
    work = farm.claim()[0]
    farm.finish([replace(work, token=work.token + 1)])
    farm.finish([work], executor="e9")
    assert farm.state(job) == "running"
    assert [r["executor"] for r in refused(farm, f"{job}.1.1")] == ["e1", "e9"]
    farm.finish([work])
    assert farm.state(job) == "done"


@pytest.mark.parametrize(("facts", "kept"), [({"exit": -15, "cause": "cancelled"}, 0), ({"exit": 0}, 1)])
def test_a_cancelled_attempt_that_had_ended_by_itself_is_evidence(
    farm: QueueFarm, facts: dict[str, object], kept: int
) -> None:
    job = farm.submit(TRUE)
    works = farm.claim()
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    farm.finish(works, **facts)
    assert len(refused(farm, f"{job}.1.1")) == kept


def test_an_unchanged_item_that_comes_after_nothing_asks_for_no_executor(farm: QueueFarm) -> None:
    kept = File(path="dist/b.whl", digest="7" * 64, size=3)
    items = item("a", changed=False, previous=(kept,)), item("b", "a", changed=False), item("c"), item("d", "a", "c")
    job = farm.submit(packages(*items), kind="packages")
    assert farm.tasks(job) == {"a": "skipped", "b": "skipped", "c": "ready", "d": "blocked"}
    with farm.db.write() as tx:
        seen = observe(tx, FarmConfig(), farm.clock.now())
    assert sum(w.count for d in seen.demand for w in d.waiting) == 1
    farm.run(job)
    assert farm.counts(job) == {"done": 2, "skipped": 2}


def test_a_job_of_nothing_but_unchanged_items_is_done_at_once(farm: QueueFarm) -> None:
    job = farm.submit(packages(item("a", changed=False), item("b", "a", changed=False)), kind="packages")
    behind = farm.submit(TRUE, after=(job,))
    assert (farm.state(job), farm.counts(job)) == ("done", {"skipped": 2})
    assert [of(w) for w in farm.claim()] == [behind]


def test_unchanged_items_of_a_step_that_waits_are_skipped_in_time(farm: QueueFarm) -> None:
    first = farm.submit(TRUE)
    job = farm.submit(packages(item("a", changed=False), item("b", "a")), after=(first,))
    assert farm.tasks(job) == {"a": "skipped", "b": "blocked"}
    farm.run(first)
    assert farm.counts(job) == {"skipped": 1, "done": 1}


def test_tasks_that_were_never_handed_out_are_listed_with_their_end(farm: QueueFarm) -> None:
    job = farm.submit(array(5), StepSpec(name="then", argv=("true",), array=Range(first=1, last=2), after=("main",)))
    farm.claim(2)
    assert _listed(farm, job, "ready") == [f"{job}.3", f"{job}.4", f"{job}.5"]
    assert _listed(farm, job, "blocked") == [f"{job}.6", f"{job}.7"]
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    every = [f"{job}.{n}" for n in range(1, 8)]
    assert _listed(farm, job, "cancelled") == _listed(farm, job, "") == every
    assert [_listed(farm, job, "", 2, n) for n in (0, 1, 2, 5, 6, 7)] == [every[n : n + 2] for n in (0, 1, 2, 5, 6, 7)]
    assert _listed(farm, job, "done") == []


def test_a_skipped_step_is_not_counted_as_blocked_too(farm: QueueFarm) -> None:
    behind = StepSpec(name="then", argv=("true",), array=Range(first=1, last=2), after=("main",))
    job = farm.submit(TRUE, behind, StepSpec(name="other", argv=("true",)))
    farm.finish(farm.claim(), exit=1)
    assert farm.counts(job) == {"failed": 1, "skipped": 2, "ready": 1}
    assert _listed(farm, job, "skipped") == [f"{job}.2", f"{job}.3"]
    with farm.db.write() as tx, pytest.raises(Conflict, match="was skipped already"):
        cancel(tx, parse_reference(f"{job}.3"), farm.clock.now())


def _listed(farm: QueueFarm, job: int, state: str, limit: int = 100, offset: int = 0) -> list[str]:
    with farm.db.read() as tx:
        return [task["ref"] for task in read.tasks(tx, job, state, limit, offset, every=True)]
