"""What a task has beside its slot is its own until its executor says that it has ended, or has ended itself."""

from datetime import datetime

import pytest
from sqlalchemy import func, insert, select, update

from executors.contract import Running, Work
from farm import fleet, offers
from farm import tables as t
from farm.config import FarmConfig
from farm.dispatch import Dispatcher
from farm.forgetting import forget
from farm.model import AttemptState, ExecutorState
from farm.observe import observe
from farm.queue import endings, quarantine, settle
from farm.queue.cancel import cancel
from farm.queue.endings import ASK_AGAIN, MOST
from farm.reference import parse_reference
from farm.why import Look
from farm.why import job as why
from schedules.kinds import used_on
from schedules.model import Licence
from tests.contract.queue_farm import LANES, QueueFarm
from tests.contract.test_needs import array, assign, jobs, there

MAYA = {"maya": Licence(1)}


def cancelled(farm: QueueFarm, what: object) -> None:
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(what)), farm.clock.now())


def held(farm: QueueFarm) -> int:
    with farm.db.read() as tx:
        return int(tx.execute(select(func.count()).select_from(t.Ending)).scalar_one())


def look(farm: QueueFarm, *gone: str) -> list[str]:
    """The sites that are asked; machines that have `gone` are known to have ended."""
    with farm.db.write() as tx:
        return endings.look(tx, lambda executor, _pool, _since: executor in gone, farm.clock.now())


def settled(farm: QueueFarm, *running: Work, joined: tuple[str, ...] = ("graphic",)) -> None:
    """The site has said that just this runs there."""
    found = [Running("graphic", one.attempt, one.token, "running") for one in running]
    found.append(Running("graphic", "77.1.1", 5, "running"))  # of which nobody knows
    with farm.db.write() as tx:
        endings.settled(tx, "s", joined, found, farm.clock.now())


def licensed(farm: QueueFarm) -> dict[str, list[Work]]:
    with farm.db.write() as tx:
        return dict(Dispatcher(LANES, 1, licences=MAYA).assign(tx, farm.clock.now()))


@pytest.mark.parametrize("what", ["{0}", "{0}.1"])
def test_a_device_is_the_cancelled_tasks_until_its_executor_says_that_it_has_ended(farm: QueueFarm, what: str) -> None:
    there(farm, "graphic", gpus=1)
    job = farm.submit(array(1, needs={"gpus": 1}))
    first = assign(farm)["graphic"]
    other = farm.submit(array(1, needs={"gpus": 1}))
    cancelled(farm, what.format(job))
    assert assign(farm) == {}  # it has five seconds more
    assert farm.finish(first, "graphic", exit=-15, cause="cancelled").returned
    second = assign(farm)
    assert jobs(second) == {"graphic": [other]}
    assert second["graphic"][0].env["FARM_GPUS"] == "0"
    assert held(farm) == 0


def test_what_has_slots_alone_holds_nothing_more(farm: QueueFarm) -> None:
    there(farm, "plain")
    works = farm.submit(array(4)) and assign(farm)["plain"]
    cancelled(farm, works[0].attempt.split(".")[0])
    assert held(farm) == 0
    assert not farm.finish(works, "plain", exit=-15, cause="cancelled").returned


def test_one_of_another_token_frees_nothing(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=1)
    job = farm.submit(array(1, needs={"gpus": 1}))
    (work,) = assign(farm)["graphic"]
    cancelled(farm, job)
    stranger = Work(work.attempt, work.token + 1, 1, ("r",))
    assert not farm.finish([stranger], "graphic", exit=-15, cause="cancelled").returned
    assert held(farm) == 1


def test_a_task_that_goes_again_does_not_get_what_its_last_attempt_still_has(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=2)
    job = farm.submit(array(1, needs={"gpus": 1}))
    (first,) = assign(farm)["graphic"]
    cancelled(farm, job)
    farm.retry(str(job))
    (again,) = assign(farm)["graphic"]
    assert (first.env["FARM_GPUS"], again.env["FARM_GPUS"]) == ("0", "1")


def test_a_licence_is_held_as_long(farm: QueueFarm) -> None:
    there(farm, "plain")
    job = farm.submit(array(1, licences={"maya": 1}))
    (first,) = licensed(farm)["plain"]
    other = farm.submit(array(1, licences={"maya": 1}))
    cancelled(farm, job)
    assert licensed(farm) == {}
    with farm.db.read() as tx:
        config = FarmConfig.model_validate({"licences": {"maya": {"count": 1}}})
        told = why(Look(tx, config, farm.clock.now()), other)
    assert f"1 of 1 of maya are in use, by job {job}" in told.sentence
    farm.finish([first], "plain", exit=-15, cause="cancelled")
    assert jobs(licensed(farm)) == {"plain": [other]}


def test_a_licence_of_a_lost_executor_is_free_when_its_machine_has_ended(farm: QueueFarm) -> None:
    """It may be frozen, and go on: it has ended when its provider says so."""
    there(farm, "one")
    farm.submit(array(1, licences={"maya": 1}))
    assert len(licensed(farm)["one"]) == 1
    with farm.db.write() as tx:
        fleet.lost(tx, "one", "frozen", farm.clock.now())
    there(farm, "two")
    assert licensed(farm) == {}
    look(farm)
    assert licensed(farm) == {}
    look(farm, "one")
    assert list(licensed(farm)) == ["two"]


def test_a_machine_of_which_nobody_ever_hears_holds_nothing_for_ever(farm: QueueFarm) -> None:
    there(farm, "one")
    farm.submit(array(1, licences={"maya": 1}))
    licensed(farm)
    with farm.db.write() as tx:
        fleet.ended(tx, "one", "the farm went down", farm.clock.now())
    there(farm, "two")
    farm.clock.turn(MOST.total_seconds() - 1)
    assert look(farm) == []
    assert licensed(farm) == {}
    farm.clock.turn(2)
    look(farm)
    assert list(licensed(farm)) == ["two"]


def test_what_lives_on_is_asked_for_when_its_end_is_not_told(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=1)
    job = farm.submit(array(1, needs={"gpus": 1}))
    (work,) = assign(farm)["graphic"]
    cancelled(farm, job)
    other = farm.submit(array(1, needs={"gpus": 1}))
    assert look(farm) == []
    farm.clock.turn(ASK_AGAIN.total_seconds() + 1)
    assert look(farm) == ["s"]
    assert look(farm) == []
    settled(farm, work)
    farm.clock.turn(10 * MOST.total_seconds())
    assert look(farm) == ["s"]
    assert assign(farm) == {}  # it still runs there, however long
    settled(farm, joined=())
    assert assign(farm) == {}  # nothing is known of its executor
    settled(farm)
    assert jobs(assign(farm)) == {"graphic": [other]}


def test_a_clock_that_was_set_back_frees_nothing_and_asks(farm: QueueFarm) -> None:
    there(farm, "one")
    farm.submit(array(1, licences={"maya": 1}))
    licensed(farm)
    with farm.db.write() as tx:
        fleet.lost(tx, "one", "frozen", farm.clock.now())
    there(farm, "two")
    farm.clock.turn(-3600)
    asked: list[datetime] = []
    with farm.db.write() as tx:
        endings.look(tx, lambda _executor, _pool, since: bool(asked.append(since)), farm.clock.now())
    assert asked == [farm.clock.now()]
    assert licensed(farm) == {}


def test_what_runs_on_after_it_was_given_up_has_its_device(farm: QueueFarm) -> None:
    """A message that nobody thought would arrive did."""
    there(farm, "graphic", gpus=1)
    job = farm.submit(array(1, needs={"gpus": 1}))
    (work,) = assign(farm)["graphic"]
    with farm.db.write() as tx:
        settle.lose_some(tx, [parse_reference(work.attempt)], "it never arrived", farm.clock.now())
    settled(farm, work)
    settled(farm, work)
    assert held(farm) == 1
    assert assign(farm) == {}
    settled(farm)
    assert jobs(assign(farm)) == {"graphic": [job]}


def test_what_a_quarantined_executor_gives_back_is_held_until_it_says_so(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=2)
    job = farm.submit(array(2, needs={"gpus": 1}))
    works = assign(farm)["graphic"]
    begun = parse_reference(works[0].attempt)
    started = update(t.Attempt).where(t.Attempt.job == job, t.Attempt.number == begun.number)
    with farm.db.write() as tx:
        tx.execute(started.values(state=AttemptState.STARTED))
        out = quarantine.Quarantined()
        quarantine._send_away(tx, "graphic", "local", [_evidence("1.1.1"), _evidence("2.1.1")], out, farm.clock.now())
        found = tx.execute(select(t.Ending.number)).scalars().all()
    assert (out.attempts, found) == ([works[1].attempt], [parse_reference(works[1].attempt).number])
    assert farm.finish(works[1:], "graphic", exit=-15, cause="cancelled").returned
    assert held(farm) == 0


def _evidence(attempt: str) -> dict[str, object]:
    return {"job": int(attempt[0]), "step": 0, "attempt": attempt, "exit": 1, "cause": ""}


def test_its_job_may_be_forgotten_meanwhile(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=1)
    job = farm.submit(array(1, needs={"gpus": 1}))
    works = assign(farm)["graphic"]
    cancelled(farm, job)
    farm.submit(array(1, needs={"gpus": 1}))
    farm.clock.turn(1)
    assert forget(farm.db, farm.clock.now(), wait=lambda _s: None).jobs == 1
    assert assign(farm) == {}
    assert farm.finish(works, "graphic", exit=-15, cause="cancelled").returned
    assert len(assign(farm)["graphic"]) == 1


def test_an_executor_whose_row_is_no_more_holds_nothing(farm: QueueFarm) -> None:
    now = farm.clock.now()
    row = {"job": 1, "number": 1, "ordinal": 1, "executor": "x", "token": 1, "given": None, "licences": {"maya": 1}}
    with farm.db.write() as tx:
        tx.execute(insert(t.Ending), {**row, "since": now, "asked": now})
    farm.clock.turn(MOST.total_seconds() + 1)
    look(farm)
    assert held(farm) == 0


def test_the_policy_sees_what_is_still_in_use_and_no_slot_of_it(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=2)
    job = farm.submit(array(1, needs={"gpus": 1}))
    assign(farm)
    cancelled(farm, job)
    with farm.db.read() as tx:
        seen = observe(tx, FarmConfig(), farm.clock.now())
    (executor,) = seen.executors
    assert (executor.state, executor.busy_slots) == (ExecutorState.READY, 0)
    assert used_on(executor, seen) == (("gpus", 1),)


def test_no_executor_of_the_same_machine_gets_the_devices_of_a_lost_one_before_that_has_ended(farm: QueueFarm) -> None:
    """All of them see the same devices; a frozen one goes on with its own."""
    pools = {"local": {"gpus": 1}, "plain": {}, "far": {"gpus": 1, "provider": "simulated"}}
    config = FarmConfig.model_validate({"pools": pools})

    def held_back() -> list[str]:
        with farm.db.read() as tx:
            return sorted(offers.held_back(tx, config))

    there(farm, "graphic", gpus=1)
    farm.submit(array(1, needs={"gpus": 1}))
    assign(farm)
    assert held_back() == []
    with farm.db.write() as tx:
        fleet.lost(tx, "graphic", "frozen", farm.clock.now())
    assert held_back() == ["local"]
    look(farm, "graphic")
    assert held_back() == []
