"""Licences are counted on the whole farm; what waits for one keeps nobody else, and orders no machine."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from executors.contract import Work
from farm import tables as t
from farm.capacity import check_needs
from farm.config import FarmConfig
from farm.model import Item, Range, StepSpec
from farm.observe import observe
from farm.queue.claim import Claim
from farm.queue.room import Room
from farm.reference import parse_reference
from farm.refusal import Refusal
from farm.why import work
from farm.why.cause import Cause
from farm.why.look import Look
from tests.contract.queue_farm import LANES, QueueFarm, of

CONFIG = FarmConfig.model_validate({"licences": {"maya": {"count": 3}, "nuke": {"count": 1, "per": "host"}}})


def array(last: int = 50, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("r",), "array": Range(first=1, last=last), **more})


@pytest.fixture
def licensed(farm: QueueFarm) -> QueueFarm:
    """With two executors of four slots."""
    now = farm.clock.now()
    facts = {"order": "o", "site": "s", "state": "ready", "price_nano": 0, "why": "", "pool": "local", "slots": 4}
    times = {"ordered": now, "launched": now, "billed_until": now}
    with farm.db.write() as tx:
        tx.execute(insert(t.Executor), [{"id": name, **facts, **times} for name in ("e1", "e2")])
    return farm


def claim(farm: QueueFarm, **free: int) -> dict[str, list[int]]:
    """Executor → jobs of the tasks that begin on so many free slots."""
    with farm.db.write() as tx:
        rooms = [Room(name, 4, 4 - n) for name, n in free.items()]
        works = Claim(tx, LANES, 1, farm.clock.now(), {}, CONFIG.all_licences()).fill(rooms, {})
    return {name: [of(work) for work in given] for name, given in works.items()}


def test_no_more_tasks_hold_one_than_there_are(licensed: QueueFarm) -> None:
    job = licensed.submit(array(licences={"maya": 1}))
    assert claim(licensed, e1=2) == {"e1": [job] * 2}
    assert claim(licensed, e1=2, e2=4) == {"e1": [job]}  # those of e1 count here too
    assert claim(licensed, e2=4) == {}


def test_one_that_is_given_back_is_had_by_the_next(licensed: QueueFarm) -> None:
    job = licensed.submit(array(licences={"maya": 2}))
    works = licensed_works(licensed)
    assert [of(work) for work in works] == [job]
    assert claim(licensed, e2=4) == {}
    licensed.finish(works)
    assert claim(licensed, e2=4) == {"e2": [job]}


def licensed_works(farm: QueueFarm) -> list[Work]:
    with farm.db.write() as tx:
        return Claim(tx, LANES, 1, farm.clock.now(), {}, CONFIG.all_licences()).fill([Room("e1", 4, 0)], {})["e1"]


def test_tasks_of_one_host_share_one(licensed: QueueFarm) -> None:
    job = licensed.submit(array(licences={"nuke": 1}))
    assert claim(licensed, e1=3, e2=4) == {"e1": [job] * 3}
    assert claim(licensed, e1=1, e2=4) == {"e1": [job]}


def test_who_waits_for_a_licence_keeps_nobody_else_waiting(licensed: QueueFarm) -> None:
    for _ in range(200):
        licensed.submit(array(1, licences={"maya": 3}), priority=100)
    other = licensed.submit(array())
    first = claim(licensed, e1=4, e2=4)
    assert sum(given.count(other) for given in first.values()) == 7
    wide = licensed.submit(array(1, cpu=4, licences={"maya": 1}), priority=100)
    assert claim(licensed, e2=0, e1=0) == {}
    assert wide  # no room is kept for it: nothing is free, and it could not begin


def test_who_waited_for_a_licence_is_owed_nothing_for_that_time(licensed: QueueFarm) -> None:
    licensed.submit(array(1, licences={"maya": 3}), owner="eve")
    claim(licensed, e1=1)
    waits = licensed.submit(array(licences={"maya": 1}), owner="bob")
    licensed.submit(array(500), owner="ada")
    for _ in range(30):
        assert waits not in [job for given in claim(licensed, e2=4).values() for job in given]
    late = licensed.submit(array(500), owner="bob")
    given = [job for _ in range(10) for job in claim(licensed, e2=4)["e2"]]
    assert 18 <= given.count(late) <= 24  # of 40; one claim at most is ahead of his turn


def test_items_hold_them_too(licensed: QueueFarm) -> None:
    items = tuple(Item(name=f"i{n}", argv=("b",)) for n in range(9))
    job = licensed.submit(StepSpec(items=items, licences={"maya": 1}), kind="packages")
    assert claim(licensed, e1=4) == {"e1": [job] * 3}


def test_no_machine_is_ordered_for_what_waits_for_a_licence(licensed: QueueFarm) -> None:
    licensed.submit(array(licences={"maya": 1}))
    items = tuple(Item(name=f"i{n}", argv=("b",)) for n in range(9))
    licensed.submit(StepSpec(items=items, licences={"maya": 1}), kind="packages")
    assert waiting(licensed) == 3
    claim(licensed, e1=2)
    assert waiting(licensed) == 1
    claim(licensed, e1=1)
    assert waiting(licensed) == 0
    plain = licensed.submit(array(7))
    assert (waiting(licensed), bool(plain)) == (7, True)


def test_a_step_that_needs_none_is_not_kept_from_its_machine_by_one_beside_it(licensed: QueueFarm) -> None:
    licensed.submit(array(3, licences={"maya": 1}))
    claim(licensed, e1=3)
    items = tuple(Item(name=f"i{n}", argv=("b",)) for n in range(5))
    licensed.submit(StepSpec(items=items), StepSpec(name="maya", items=items, licences={"maya": 1}), kind="packages")
    assert waiting(licensed) == 5


def waiting(farm: QueueFarm) -> int:
    with farm.db.write() as tx:
        seen = observe(tx, CONFIG, farm.clock.now())
    return sum(row.count for demand in seen.demand for row in demand.waiting)


def test_why_it_waits_is_told(licensed: QueueFarm) -> None:
    first = licensed.submit(array(3, licences={"maya": 1}))
    second = licensed.submit(array(1, licences={"maya": 1}))
    claim(licensed, e1=4)
    with licensed.db.read() as tx:
        look = Look(tx, CONFIG, licensed.clock.now() + timedelta(seconds=1))
        found = work.task(look, parse_reference(f"{second}.1"))
        gone = work.job(Look(tx, FarmConfig(), licensed.clock.now()), second)
    assert found.cause == Cause.LICENCE
    assert found.sentence == f"Task {second}.1 waits for a licence: 3 of 3 of maya are in use, by job {first}."
    assert (found.numbers["count"], found.numbers["used"]) == (3, 3)
    assert gone.sentence == f"Job {second} waits for licence maya, which is in farm.toml no more."


@pytest.mark.parametrize(
    ("licences", "words"), [({"mya": 1}, "no licence 'mya'"), ({"maya": 4}, "there are 3 of licence 'maya'")]
)
def test_what_can_never_be_had_is_refused(licences: dict[str, int], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        check_needs(CONFIG, array(licences=licences))
    check_needs(CONFIG, array(licences={"maya": 3}))
