"""Tasks begin only where there is what they need beside slots, and have it for themselves."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event, insert, select

from executors.contract import Work
from farm import tables as t
from farm.config import FarmConfig
from farm.dispatch import Dispatcher
from farm.model import ExecutorState, Item, ManyJobs, Range, StepSpec
from farm.observe import observe
from farm.queue.many import submit_many
from farm.queue.needs import offer_text
from schedules.model import Launch, Licence
from schedules.needs import Offer
from schedules.policy import default
from tests.contract.queue_farm import LANES, ON_ONE, QueueFarm, of
from tests.unit.test_queue_cost import cost

HOUR = 3600.0


def array(last: int = 50, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("r",), "array": Range(first=1, last=last), "predicted_s": HOUR, **more})


def there(farm: QueueFarm, name: str, slots: int = 4, gpus: int = 0, **amounts: int) -> None:
    """An executor that has so much, and labels as those of its pool: host=NAME."""
    now = farm.clock.now()
    all_of_it = tuple(sorted(({**amounts, "gpus": gpus} if gpus else amounts).items()))
    facts = {"order": "o", "site": "s", "state": ExecutorState.READY, "price_nano": 0, "why": "", "pool": "local"}
    times = {"ordered": now, "launched": now, "billed_until": now, "idle_since": now}
    offer = offer_text(Offer(all_of_it, (("host", name),)), tuple(range(gpus)))
    with farm.db.write() as tx:
        tx.execute(insert(t.Executor), {"id": name, "slots": slots, "offer": offer, **facts, **times})


def assign(farm: QueueFarm) -> dict[str, list[Work]]:
    with farm.db.write() as tx:
        return dict(Dispatcher(LANES, 1).assign(tx, farm.clock.now()))


def jobs(given: dict[str, list[Work]]) -> dict[str, list[int]]:
    return {name: [of(work) for work in works] for name, works in given.items()}


def end(farm: QueueFarm, given: dict[str, list[Work]]) -> None:
    for name, works in given.items():
        farm.finish(works, name)


def test_a_task_begins_only_where_it_has_what_it_needs(farm: QueueFarm) -> None:
    there(farm, "plain")
    there(farm, "graphic", gpus=2, dongle=1)
    job = farm.submit(array(needs={"gpus": 1}))
    first = assign(farm)
    assert jobs(first) == {"graphic": [job, job]}
    assert assign(farm) == {}
    end(farm, {"graphic": first["graphic"][:1]})
    assert jobs(assign(farm)) == {"graphic": [job]}


def test_several_things_are_needed_at_once(farm: QueueFarm) -> None:
    there(farm, "one", gpus=4)
    there(farm, "two", gpus=4, dongle=3)
    job = farm.submit(array(needs={"gpus": 2, "dongle": 1}))
    assert jobs(assign(farm)) == {"two": [job, job]}


def test_what_needs_nothing_goes_where_nothing_rare_is(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=1)
    there(farm, "plain")
    cpu = farm.submit(array(5))
    gpu = farm.submit(array(1, needs={"gpus": 1}))
    assert jobs(assign(farm)) == {"plain": [cpu] * 4, "graphic": [cpu, gpu]}


@pytest.mark.parametrize(
    ("label", "where"), [("host=b", {"b"}), ("host!=b", {"a", "c"}), ("host", {"a", "b", "c"}), ("!host", set())]
)
def test_labels_say_where(farm: QueueFarm, label: str, where: set[str]) -> None:
    for name in ("a", "b", "c"):
        there(farm, name, slots=1)
    farm.submit(array(labels=[label]))
    assert set(assign(farm)) == where


def test_each_has_devices_of_its_own(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=4)
    farm.submit(array(1, needs={"gpus": 1}))
    farm.submit(array(9, needs={"gpus": 2}))
    first = assign(farm)
    seen = sorted(work.env["FARM_GPUS"] for work in first["graphic"])
    assert seen == ["0", "1,2"]
    assert all(work.env["CUDA_VISIBLE_DEVICES"] == work.env["FARM_GPUS"] for work in first["graphic"])
    end(farm, {"graphic": [work for work in first["graphic"] if work.env["FARM_GPUS"] == "0"]})
    assert [work.env["FARM_GPUS"] for work in assign(farm)["graphic"]] == ["0,3"]


def test_a_task_that_goes_again_needs_the_same(farm: QueueFarm) -> None:
    there(farm, "plain")
    there(farm, "graphic", gpus=1)
    job = farm.submit(array(1, needs={"gpus": 1}))
    works = assign(farm)["graphic"]
    farm.finish(works, "graphic", exit=1)
    farm.retry(str(job))
    assert jobs(assign(farm)) == {"graphic": [job]}


def test_one_that_was_cancelled_before_its_turn_needs_the_same(farm: QueueFarm) -> None:
    from farm.queue.cancel import cancel
    from farm.reference import parse_reference

    there(farm, "plain")
    job = farm.submit(array(3, needs={"gpus": 1}))
    with farm.db.write() as tx:
        cancel(tx, parse_reference(f"{job}.2"), farm.clock.now())
    farm.retry(f"{job}.2")
    assert assign(farm) == {}
    there(farm, "graphic", gpus=3)
    assert jobs(assign(farm)) == {"graphic": [job] * 3}


def test_items_need_it_too_and_many_jobs_do(farm: QueueFarm) -> None:
    there(farm, "plain")
    there(farm, "graphic", gpus=3)
    items = tuple(Item(name=f"i{n}", argv=("b",), after=("i0",) if n else ()) for n in range(3))
    job = farm.submit(StepSpec(items=items, needs={"gpus": 1}), kind="packages")
    first = assign(farm)
    assert jobs(first) == {"graphic": [job]}
    end(farm, first)
    assert jobs(assign(farm)) == {"graphic": [job, job]}
    spec = {"name": "n", "owner": "ada", "steps": [{"argv": ["true"], "needs": {"gpus": 1}}]}
    with farm.db.write() as tx:
        many = submit_many(
            tx, ManyJobs.model_validate({"job": spec, "commands": [["1"], ["2"]]}), LANES, farm.clock.now()
        )
    assert jobs(assign(farm)) == {"graphic": many[:1]}


def test_a_large_task_is_not_overtaken_for_ever(farm: QueueFarm) -> None:
    """Small ones take turns on the devices; beyond its due date what they give back is kept for the large one."""
    there(farm, "graphic", slots=8, gpus=2)
    small = farm.submit(array(500, needs={"gpus": 1}), owner="eve")
    running = assign(farm)["graphic"]
    large = farm.submit(array(1, needs={"gpus": 2}), lane="interactive", owner="ada")
    begun = []
    for _ in range(6):
        farm.finish(running[:1], "graphic")
        running = [*running[1:], *(more := assign(farm).get("graphic", []))]
        begun += [of(work) for work in more]
    assert large in begun[:2], (small, begun)


def test_a_large_task_of_the_same_lane_waits_until_it_is_due_and_no_longer(farm: QueueFarm) -> None:
    there(farm, "graphic", slots=8, gpus=2)
    small = farm.submit(array(500, needs={"gpus": 1}), owner="eve")
    running = assign(farm)["graphic"]
    large = farm.submit(array(1, needs={"gpus": 2}), owner="ada")

    def turn() -> list[int]:
        nonlocal running
        farm.finish(running[:1], "graphic")
        begun = assign(farm).get("graphic", [])
        running = [*running[1:], *begun]
        return [of(work) for work in begun]

    assert [turn(), turn(), turn()] == [[small]] * 3
    farm.clock.turn(1000)  # past the longest wait that its lane aims for
    assert [turn(), turn()] == [[], [large]]


def test_what_is_kept_for_it_is_not_the_whole_machine(farm: QueueFarm) -> None:
    there(farm, "graphic", slots=8, gpus=2)
    farm.submit(array(2, needs={"gpus": 1}), owner="eve")
    running = assign(farm)["graphic"]
    farm.submit(array(1, needs={"gpus": 2}), lane="interactive", owner="ada")
    cpu = farm.submit(array(50), owner="bob")
    farm.finish(running[:1], "graphic")
    assert jobs(assign(farm)) == {"graphic": [cpu] * 6}  # of eight one runs a small task, one is kept


def test_what_is_kept_for_it_is_no_room_for_others_to_the_policy(farm: QueueFarm) -> None:
    """The pool with devices is full: one is ordered from the other for what finds the free slot kept."""
    there(farm, "graphic", slots=2, gpus=1)
    farm.submit(array(2, needs={"gpus": 1}), lane="interactive")
    assert len(assign(farm)["graphic"]) == 1
    farm.submit(array(1), owner="bob")
    assert assign(farm) == {}
    pools = {"local": {"slots": 2, "ceiling": 2, "gpus": 1}, "plain": {"slots": 2, "ceiling": 2}}
    with farm.db.read() as tx:
        decision = default(observe(tx, FarmConfig.model_validate({"pools": pools}), farm.clock.now()))
    assert [(a.pool, a.count) for a in decision.actions if isinstance(a, Launch)] == [("plain", 1)]


def test_who_waits_for_what_nobody_has_keeps_nobody_else(farm: QueueFarm) -> None:
    there(farm, "plain")
    for _ in range(200):
        farm.submit(array(1, needs={"gpus": 1}), priority=100)
    other = farm.submit(array())
    assert jobs(assign(farm)) == {"plain": [other] * 4}


def test_who_waits_for_a_licence_keeps_nobody_behind_from_a_device(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=1)
    step = {"argv": ["true"], "needs": {"gpus": 1}, "licences": {"maya": 1}}
    spec = {"name": "n", "owner": "ada", "steps": [step]}
    with farm.db.write() as tx:
        many = ManyJobs.model_validate({"job": spec, "commands": [["x"]] * 100})
        submit_many(tx, many, LANES, farm.clock.now())
    other = farm.submit(array(1, needs={"gpus": 1}))
    with farm.db.write() as tx:
        given = dict(Dispatcher(LANES, 1, licences={"maya": Licence(0)}).assign(tx, farm.clock.now()))
    assert jobs(given) == {"graphic": [other]}


@pytest.fixture
def told(farm: QueueFarm) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_c: object, _cursor: object, statement: str, *_more: object) -> None:
        said.append(statement)

    event.listen(farm.db.engine, "before_cursor_execute", hear)
    yield said
    event.remove(farm.db.engine, "before_cursor_execute", hear)


def test_a_claim_asks_as_often_however_many_wait_that_need_something(farm: QueueFarm, told: list[str]) -> None:
    there(farm, "graphic", gpus=1)
    spec = {"name": "n", "owner": "ada", "steps": [{"argv": ["true"], "needs": {"gpus": 1}}]}

    def asked(count: int) -> int:
        with farm.db.write() as tx:
            many = ManyJobs.model_validate({"job": spec, "commands": [["x"]] * count})
            submit_many(tx, many, LANES, farm.clock.now())
        told.clear()
        end(farm, assign(farm))
        return len(told)

    asked(2)  # who has never been given anything is written down anew
    first = asked(2)
    assert asked(300) == first


def test_an_attempt_keeps_what_it_was_given_in_the_books(farm: QueueFarm) -> None:
    there(farm, "graphic", gpus=2)
    farm.submit(array(1, needs={"gpus": 2}))
    farm.submit(array(1))
    assign(farm)
    with farm.db.read() as tx:
        given = tx.execute(select(t.Attempt.given).order_by(t.Attempt.job)).scalars().all()
    assert given == ['{"amounts":{"gpus":2},"gpus":[0,1]}', None]


@ON_ONE
def test_a_claim_among_many_that_need_what_nobody_has_costs_as_among_few(farm: QueueFarm) -> None:
    there(farm, "plain", slots=1)
    farm.submit(array(100))
    spec = {"name": "n", "owner": "ada", "steps": [{"argv": ["true"], "needs": {"gpus": 1}}], "priority": 100}

    def steps(count: int) -> int:
        many = ManyJobs.model_validate({"job": spec, "commands": [["x"]] * count})
        with farm.db.write() as tx:
            submit_many(tx, many, LANES, farm.clock.now())
        return cost(farm, lambda: end(farm, assign(farm)))

    few = steps(20)
    assert steps(5_000) < 1.5 * few
