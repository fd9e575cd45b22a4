"""When something that waits will begin: an interval, which what then happens falls into."""

from datetime import datetime, timedelta

import pytest

from farm.model import Range
from farm.queue.start_after import release_due
from farm.refusal import Refusal
from farm.why import Cause
from tests.contract.queue_farm import ON_ONE, QueueFarm
from tests.contract.why_scenes import ask, full, opening, pools, steer, step, there

pytestmark = ON_ONE


def interval(farm: QueueFarm, about: str, **more: object) -> list[float | None]:
    """Seconds from now."""
    found = ask(farm, about, pools(**more)).numbers["starts"]
    return [at and (datetime.fromisoformat(at) - farm.clock.now()).total_seconds() for at in found]


def test_at_best_the_first_slot_that_is_expected_back_and_at_worst_after_all_before_it(farm: QueueFarm) -> None:
    full(farm)  # four run for ten minutes, 36 more wait
    best, worst = interval(farm, str(farm.submit(step(predicted_s=600))))
    assert best == 600
    assert worst is not None
    assert 600 + 36 * 600 / 4 <= worst <= 1200 + 36 * 600 / 4 + 600


def test_an_executor_on_its_way_is_counted(farm: QueueFarm) -> None:
    there(farm, state="booting", ready=None)
    job = farm.submit(step())
    assert interval(farm, str(job), boot=30) == [30, 30]
    assert "It is expected to begin at 12:00:30 UTC on Jan 05." in ask(farm, str(job), pools(boot=30)).sentence


def test_what_the_policy_would_order_now_is_counted_too(farm: QueueFarm) -> None:
    job = farm.submit(step())
    answer = ask(farm, str(job), pools(boot=30))
    assert answer.cause is Cause.QUEUE
    assert interval(farm, str(job), boot=30)[0] == 30
    assert "It is expected to begin at 12:00:30 UTC" in answer.sentence


def test_without_a_slot_in_sight_nothing_is_promised(farm: QueueFarm) -> None:
    answer = ask(farm, str(farm.submit(step())), pools(ceiling=0))
    assert answer.cause is Cause.CEILING
    assert "starts" not in answer.numbers


def test_a_task_of_several_slots_waits_for_so_many_on_one_executor(farm: QueueFarm) -> None:
    there(farm, slots=2, idle_since=None)
    farm.submit(step(predicted_s=600))
    farm.submit(step(predicted_s=900), name="long")
    farm.claim(2)
    best, _ = interval(farm, str(farm.submit(step(cpu=2))), slots=2, ceiling=2)
    assert best == 900


def test_the_promise_holds_where_all_goes_as_predicted(farm: QueueFarm) -> None:
    full(farm, predicted_s=60)
    mine = farm.submit(step(predicted_s=60), owner="ada")
    best, worst = interval(farm, str(mine))
    begun: float | None = None
    since = farm.clock.now()
    assert best is not None
    assert worst is not None
    while begun is None and farm.clock.now() - since < timedelta(hours=1):
        farm.clock.turn(60)
        for n in range(4):
            for work in farm.claim(executor=f"e{n}"):
                if work.attempt.startswith(f"{mine}."):
                    begun = (farm.clock.now() - since).total_seconds()
    assert begun is not None
    assert best <= begun <= worst


def test_a_job_begins_at_its_time_and_not_before_and_a_person_may_release_it(farm: QueueFarm) -> None:
    at = farm.clock.now() + timedelta(minutes=5)
    first = farm.submit(step(array=Range(first=1, last=2)), start_after=at)
    second = farm.submit(step(), start_after=at)
    assert farm.state(first) == "held"
    steer(farm).release(str(second))
    assert farm.state(second) == "queued"
    assert ask(farm, str(second)).cause is not Cause.START_AFTER
    steer(farm).hold(str(second))
    assert ask(farm, str(second)).cause is Cause.HELD
    farm.clock.turn(300)
    with farm.db.write() as tx:
        assert release_due(tx, farm.clock.now()) == [first]  # who holds it now has not said until when
    assert farm.state(second) == "held"


def test_a_time_that_is_past_holds_nothing(farm: QueueFarm) -> None:
    assert farm.state(farm.submit(step(), start_after=farm.clock.now())) == "queued"


def test_who_holds_a_job_releases_it(farm: QueueFarm) -> None:
    job = farm.submit(step(), start_after=farm.clock.now() + timedelta(minutes=5), held=True)
    farm.clock.turn(301)
    with farm.db.write() as tx:
        assert release_due(tx, farm.clock.now()) == []
    assert farm.state(job) == "held"


def test_many_jobs_at_once_begin_when_they_may(farm: QueueFarm) -> None:
    from farm.model import ManyJobs
    from farm.queue.many import check_many

    job = {"name": "a", "owner": "ada", "steps": [{"argv": ["x"]}], "start_after": "2026-01-05T12:00:00Z"}
    with pytest.raises(Refusal, match="begins later"):
        check_many(ManyJobs.model_validate({"job": job, "commands": [["a"]]}))


def test_where_no_window_has_an_edge_for_long_that_is_said(farm: QueueFarm) -> None:
    there(farm)
    config = opening(hours="00:00-24:00", pools={"local": {"floor": 1}})
    assert ask(farm, "executor e1", config).next == "no window opens or closes within 8 days, or work comes"
    assert ask(farm, "pool local", config).next == "no window opens or closes within 8 days"
