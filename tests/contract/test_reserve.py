"""Slots that a lane leaves to others are kept from it wherever work is handed out."""

from collections.abc import Mapping

import pytest
from sqlalchemy import insert

from executors.contract import Work
from farm import tables as t
from farm.config import FarmConfig
from farm.dispatch import Dispatcher
from farm.model import Range, StepSpec
from farm.observe import observe
from farm.queue.claim import Claim
from farm.queue.room import Room
from farm.queue.setting import Setting, change
from schedules.reserve import Allowed
from tests.contract.queue_farm import LANES, QueueFarm, of

BULK = frozenset({"bulk"})


def array(last: int = 50, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("r",), "array": Range(first=1, last=last), **more})


def begin(farm: QueueFarm, slots: int, depth: Mapping[tuple[int, int], int] | None = None, **free: int) -> list[Work]:
    """What begins on so many free slots of eight each, where bulk may have `slots`."""
    with farm.db.write() as tx:
        rooms = [Room(name, 8, 8 - n) for name, n in free.items()]
        works = Claim(tx, LANES, 1, farm.clock.now(), allowed=Allowed(BULK, slots)).fill(rooms, depth or {})
    return [work for given in works.values() for work in given]


def claim(farm: QueueFarm, slots: int, depth: Mapping[tuple[int, int], int] | None = None, **free: int) -> list[int]:
    """The jobs of it."""
    return sorted(of(work) for work in begin(farm, slots, depth, **free))


def test_bulk_has_no_more_than_it_may(farm: QueueFarm) -> None:
    job = farm.submit(array(), lane="bulk")
    assert claim(farm, 5, e1=3) == [job] * 3
    assert claim(farm, 5, e2=8) == [job] * 2  # those of e1 count here too
    assert claim(farm, 5, e2=6) == []
    other = farm.submit(array(3), lane="default")
    assert claim(farm, 5, e2=6) == [other] * 3


def test_what_ends_is_had_by_the_next(farm: QueueFarm) -> None:
    job = farm.submit(array(), lane="bulk")
    works = begin(farm, 2, e1=8)
    assert claim(farm, 2, e1=6) == []
    farm.finish(works[:1])
    assert claim(farm, 2, e1=7) == [job]


def test_a_lane_that_moves_takes_its_slots_along(farm: QueueFarm) -> None:
    """Moved to bulk, what runs counts there."""
    job = farm.submit(array(4), lane="default")
    assert claim(farm, 3, e1=2) == [job] * 2
    with farm.db.write() as tx:
        change(tx, job, Setting(lane="bulk"), LANES, farm.clock.now())
    assert claim(farm, 3, e1=6) == [job]


def test_short_tasks_keep_nobody_waiting_and_are_not_kept(farm: QueueFarm) -> None:
    short, long = farm.submit(array(20), lane="bulk"), farm.submit(array(20), lane="bulk")
    begun = claim(farm, 1, {(short, 0): 4}, e1=4)
    assert begun.count(short) > 1
    assert begun.count(long) <= 1


def test_a_wide_task_of_the_lane_has_no_room_kept_while_it_may_not_begin(farm: QueueFarm) -> None:
    farm.submit(array(6), lane="bulk")
    assert len(claim(farm, 6, e1=6)) == 6
    farm.submit(array(1, cpu=4), lane="bulk", priority=100)
    person = farm.submit(array(2), lane="interactive")
    farm.clock.turn(7200)
    assert claim(farm, 6, e1=2) == [person] * 2


def test_narrow_tasks_do_not_overtake_a_wide_one_for_ever(farm: QueueFarm) -> None:
    farm.submit(array(4), lane="bulk", owner="eve")
    running = begin(farm, 4, e1=4)
    wide = farm.submit(array(1, cpu=4), lane="bulk", owner="bob")
    farm.submit(array(200), lane="bulk", owner="ada")
    for _ in range(20):
        farm.finish([running.pop(0)])
        running += begin(farm, 4, e1=8 - len(running))
        if wide in map(of, running):
            return
    pytest.fail(f"job {wide} never began")


def test_a_dispatcher_heeds_what_the_wheel_saw(farm: QueueFarm) -> None:
    now = farm.clock.now()
    facts = {"order": "o", "site": "s", "state": "ready", "price_nano": 0, "why": "", "pool": "local", "slots": 8}
    times = {"ordered": now, "launched": now, "billed_until": now}
    with farm.db.write() as tx:
        tx.execute(insert(t.Executor), [{"id": "e1", **facts, **times}])
    farm.submit(array(), lane="bulk")
    with farm.db.write() as tx:
        assert len(Dispatcher(LANES, 1, allowed=Allowed(BULK, 3)).assign(tx, now)["e1"]) == 3


def test_a_long_row_of_bulk_jobs_hides_nobody_from_the_policy(farm: QueueFarm) -> None:
    shape = {"reserve": {"slots": 2}, "pools": {"local": {"provider": "local", "ceiling": 8}}}
    config = FarmConfig.model_validate(shape)
    for _ in range(501):
        farm.submit(array(1), lane="bulk", priority=100)
    farm.submit(array(1), lane="interactive")
    with farm.db.read() as tx:
        lanes = {d.lane: len(d.waiting) for d in observe(tx, config, farm.clock.now()).demand}
        hidden = {d.lane for d in observe(tx, FarmConfig(), farm.clock.now()).demand}
    assert lanes == {"bulk": 500, "interactive": 1}
    assert hidden == {"bulk"}


def test_whose_money_is_spent_gets_nothing_and_others_go_on(farm: QueueFarm) -> None:
    mine = [farm.submit(array(9), owner="ada", lane=lane) for lane in ("default", "bulk")]
    other = farm.submit(array(2), owner="bob", lane="default")

    def begun(*broke: tuple[str, str]) -> list[int]:
        with farm.db.write() as tx:
            most = Allowed(frozenset(), 0, broke)
            works = Claim(tx, LANES, 1, farm.clock.now(), allowed=most).fill([Room("e1", 4, 0)], {(mine[0], 0): 4})
        return sorted({of(work) for given in works.values() for work in given})

    assert begun(("ada", "")) == [other]
    assert begun(("", "")) == []
    assert begun(("", "default")) == [mine[1]]
    assert begun(("ada", "bulk")) == [mine[0]]
