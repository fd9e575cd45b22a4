"""Lanes and owners share by what they are given; nobody waits behind another's large array."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from executors.contract import Work
from farm import tables as t
from farm.config import FarmConfig
from farm.db import Database
from farm.model import Item, Range, StepSpec
from farm.queue.cancel import cancel
from farm.queue.claim import Claim
from farm.queue.room import Room
from farm.reference import parse_reference
from tests.contract.queue_farm import LANES, ON_ONE, QueueFarm, of


def array(last: int, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("r", "{index}"), "array": Range(first=1, last=last), **more})


def fill(farm: QueueFarm, *rooms: Room, depth: Mapping[tuple[int, int], int] | None = None) -> Counter[int]:
    """Tasks by job that these executors get."""
    with farm.db.write() as tx:
        works = Claim(tx, LANES, 1, farm.clock.now()).fill(rooms, depth or {})
    return Counter(of(work) for given in works.values() for work in given)


def mine(works: list[Work]) -> Counter[int]:
    return Counter(of(work) for work in works)


def test_a_small_job_does_not_wait_behind_anothers_array(farm: QueueFarm) -> None:
    large = farm.submit(array(10_000), owner="ada")
    farm.claim(4)
    farm.clock.turn(600)
    small = farm.submit(array(3), owner="bob")
    assert mine(farm.claim(4)) == {large: 1, small: 3}  # the newcomer starts level


def test_owners_share_one_claim(farm: QueueFarm) -> None:
    jobs = [farm.submit(array(100), owner=name) for name in ("ada", "bob", "eve", "joe")]
    assert fill(farm, Room("e1", 8, 0), Room("e2", 8, 0)) == dict.fromkeys(jobs, 4)


def test_owners_share_a_lane_by_weight(farm: QueueFarm) -> None:
    ada, bob, eve = (farm.submit(array(100, predicted_s=5), owner=name) for name in ("ada", "bob", "eve"))
    with farm.db.write() as tx:
        works = Claim(tx, LANES, 1, farm.clock.now(), {"bob": 2, "eve": 0.5}).fill([Room("e1", 14, 0)], {})
    assert mine(works["e1"]) == {ada: 4, bob: 8, eve: 2}
    with farm.db.write() as tx:  # and are owed as much between claims
        again = [
            Claim(tx, LANES, 1, farm.clock.now(), {"bob": 2, "eve": 0.5}).fill([Room("e", 1, 0)], {}) for _ in range(35)
        ]
    given = sum((mine(works["e"]) for works in again), Counter[int]())
    assert (abs(given[ada] - 10) <= 1, abs(given[bob] - 20) <= 1, abs(given[eve] - 5) <= 1) == (True, True, True)


def test_an_owner_has_no_more_of_a_lane_by_more_jobs(farm: QueueFarm) -> None:
    for _ in range(30):
        farm.submit(array(10), owner="ada")
    farm.clock.turn(5)
    one = farm.submit(array(100), owner="bob")
    given = sum((mine(farm.claim(1)) for _ in range(40)), Counter[int]())
    assert 19 <= given[one] <= 21


@ON_ONE
def test_shares_are_of_time_not_of_tasks(farm: QueueFarm) -> None:
    long = farm.submit(array(1000, predicted_s=100), owner="ada")
    short = farm.submit(array(1000, predicted_s=10), owner="bob")
    given = sum((mine(farm.claim(1)) for _ in range(110)), Counter[int]())
    assert 9 <= given[long] <= 11
    assert 99 <= given[short] <= 101


@ON_ONE
def test_an_owner_who_was_away_has_no_claim_on_the_past(farm: QueueFarm) -> None:
    farm.submit(array(1), owner="bob")
    farm.claim(1)
    farm.submit(array(1000), owner="ada")
    for _ in range(200):
        farm.claim(1)
    late = farm.submit(array(1000), owner="bob")
    given = sum((mine(farm.claim(1)) for _ in range(40)), Counter[int]())
    assert 19 <= given[late] <= 21


def test_the_shares_of_owners_do_not_move_those_of_lanes(farm: QueueFarm) -> None:
    for name in ("a", "b", "c", "d"):
        farm.submit(array(1000, predicted_s=10), owner=name, lane="bulk")
    quick = farm.submit(array(1000, predicted_s=10), owner="e", lane="interactive")
    given = sum((mine(farm.claim(1)) for _ in range(50)), Counter[int]())
    assert 36 <= given[quick] <= 44  # weights 4 and 1


def test_of_one_owner_the_earliest_due_comes_first(farm: QueueFarm) -> None:
    first = farm.submit(array(10), owner="ada")
    farm.clock.turn(5)
    second = farm.submit(array(10), owner="ada")
    urgent = farm.submit(array(2), owner="ada", priority=50)
    assert mine(farm.claim(13)) == {urgent: 2, first: 10, second: 1}


def test_items_that_are_ready_share_too(farm: QueueFarm) -> None:
    items = tuple(Item(name=f"p{n}", argv=("b",)) for n in range(200))
    large = farm.submit(StepSpec(items=items), owner="ada", kind="packages")
    farm.clock.turn(600)
    small = farm.submit(StepSpec(items=items[:2]), owner="bob", kind="packages")
    assert mine(farm.claim(4)) == {large: 2, small: 2}


def test_what_fits_nowhere_holds_nobody_up(farm: QueueFarm) -> None:
    farm.submit(array(5, cpu=4), owner="ada")
    small = farm.submit(array(5), owner="bob")
    assert fill(farm, Room("e1", 2, 0), Room("e2", 2, 0)) == {small: 4}


def test_held_jobs_have_no_turn_and_are_owed_nothing(farm: QueueFarm) -> None:
    farm.submit(array(100, predicted_s=10), owner="ada", held=True)
    for _ in range(50):
        farm.submit(array(1, predicted_s=10), owner="bob")
        assert len(farm.claim(1)) == 1
    with farm.db.read() as tx:
        facts = tx.execute(select(t.OwnerFact).where(t.OwnerFact.owner == "ada")).all()
    assert facts == []


def test_short_work_queues_no_deeper_while_somebody_waits_for_a_slot(farm: QueueFarm) -> None:
    short = farm.submit(array(10_000), owner="ada")
    depth = {(short, 0): 50}
    assert fill(farm, Room("e1", 2, 0), depth=depth) == {short: 102}
    waits = farm.submit(array(5), owner="bob")
    fill(farm, Room("e1", 2, 60), depth=depth)  # all slots are full: it may be served once more, then it drains
    assert fill(farm, Room("e1", 2, 40), depth=depth) == {}
    assert fill(farm, Room("e1", 2, 1), depth=depth)[waits] == 1


def test_an_interactive_job_gets_a_slot_though_short_bulk_work_is_endless(farm: QueueFarm) -> None:
    bulk = farm.submit(array(100_000, predicted_s=0.01), lane="bulk")
    depth, room = {(bulk, 0): 40}, Room("e1", 2, 0)
    fill(farm, room, depth=depth)
    quick = farm.submit(array(1), lane="interactive")
    for _ in range(10):
        room.taken = max(0, room.taken - 20)  # so many ended
        if fill(farm, room, depth=depth)[quick]:
            return
    raise AssertionError("it waits for ever")


def test_a_later_long_job_of_the_same_owner_comes_in_too(farm: QueueFarm) -> None:
    early = farm.submit(array(5), owner="ada")
    farm.clock.turn(5)
    short = farm.submit(array(10_000), owner="ada")
    assert fill(farm, Room("e1", 2, 2), depth={(short, 0): 40}) == {}
    assert fill(farm, Room("e1", 2, 1), depth={(short, 0): 40}) == {early: 1}


def test_nothing_queues_behind_a_long_task(farm: QueueFarm) -> None:
    short = farm.submit(array(1000))
    depth = {(short, 0): 9}
    assert fill(farm, Room("e1", 1, 1, held=1), Room("e2", 1, 0), depth=depth) == {short: 10}
    assert fill(farm, Room("e1", 4, 3, held=3), depth=depth) == {short: 10}


def test_a_free_slot_is_never_left_to_wait(farm: QueueFarm) -> None:
    """Work conserving: whatever the turns, no slot stays free while a task fits."""
    for n, name in enumerate(("ada", "bob", "eve")):
        farm.submit(array(3 + n, predicted_s=1 + 50 * n), owner=name, lane=("bulk", "default", "interactive")[n])
    assert sum(fill(farm, Room("e1", 5, 1), Room("e2", 8, 0)).values()) == 12


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.sampled_from([1, 7, 20, 60]), min_size=2, max_size=5),
    slots=st.integers(1, 5),
    rounds=st.integers(5, 25),
)
def test_owners_with_work_never_drift_apart_by_more_than_a_task_of_each(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, lengths: list[int], slots: int, rounds: int
) -> None:
    db = Database.file(Path(shutil.copy(empty, tmp_path_factory.mktemp("fair"))))
    farm = QueueFarm(db)
    jobs = {farm.submit(array(1000, predicted_s=s), owner=f"o{n}"): s for n, s in enumerate(lengths)}
    given_s = Counter[int](dict.fromkeys(jobs, 0))
    for _ in range(rounds):
        for job, tasks in mine(farm.claim(slots)).items():
            given_s[job] += tasks * jobs[job]
        for a in jobs:
            for b in jobs:
                assert abs(given_s[a] - given_s[b]) <= jobs[a] + jobs[b]
    db.close()


def backlogged(farm: QueueFarm) -> set[str]:
    with farm.db.read() as tx:
        return set(tx.execute(select(t.OwnerFact.owner).where(t.OwnerFact.backlogged)).scalars())


def test_who_still_waits_is_remembered_and_who_does_not_is_not(farm: QueueFarm) -> None:
    ada = farm.submit(array(50), owner="ada")
    farm.submit(array(2), owner="bob")
    eve = farm.submit(array(50), owner="eve", lane="bulk")
    farm.claim(2)
    assert backlogged(farm) == {"ada", "bob", "eve"}
    farm.claim(4)
    assert backlogged(farm) == {"ada", "eve"}
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(eve)), farm.clock.now())
    farm.claim(1)
    assert backlogged(farm) == {"ada"}
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(ada)), farm.clock.now())
    farm.submit(array(1), owner="joe")
    farm.claim(1)
    assert backlogged(farm) == set()


class Busy:
    """Executors whose tasks end when they are told to."""

    def __init__(self, farm: QueueFarm, **slots: int) -> None:
        self.farm, self.slots, self.depth = farm, slots, dict[tuple[int, int], int]()
        self.running: dict[str, list[Work]] = {executor: [] for executor in slots}

    def claim(self) -> Counter[int]:
        """Tasks by job that begin now."""
        rooms = [Room(e, n, sum(self.wide(w) for w in self.running[e])) for e, n in self.slots.items()]
        with self.farm.db.write() as tx:
            works = Claim(tx, LANES, 1, self.farm.clock.now()).fill(rooms, self.depth)
        for executor, begun in works.items():
            self.running[executor] += begun
        return Counter(of(work) for begun in works.values() for work in begun)

    def end(self, executor: str) -> None:
        """The one that has been there for longest."""
        self.farm.finish([self.running[executor].pop(0)], executor)

    def wide(self, work: Work) -> int:
        return work.slots

    def ends_until(self, job: int, executors: tuple[str, ...], most: int = 50) -> int:
        """How many tasks end, on these in turn, until one of the job begins."""
        for n in range(1, most):
            self.end(next(e for e in (*executors[n % len(executors) :], *executors) if self.running[e]))
            if self.claim()[job]:
                return n
        raise AssertionError("it waits for ever")


def test_a_task_of_several_slots_is_not_overtaken_for_ever(farm: QueueFarm) -> None:
    farm.submit(array(2000), owner="ada")
    busy = Busy(farm, e1=2)
    busy.claim()
    wide = farm.submit(array(1, cpu=2), owner="bob", priority=100)
    assert busy.ends_until(wide, ("e1",)) <= 4


def test_narrow_work_goes_on_where_no_room_is_kept(farm: QueueFarm) -> None:
    narrow = farm.submit(array(2000), owner="ada")
    busy = Busy(farm, e1=2, e2=2, e3=2)
    busy.claim()
    farm.submit(array(50, cpu=2), owner="bob")
    busy.end("e1")
    busy.claim()
    for _ in range(20):
        for other in ("e2", "e3"):
            busy.end(other)
        assert busy.claim() == {narrow: 2}
    assert [len(works) for works in busy.running.values()] == [1, 2, 2]


def test_nothing_queues_in_a_room_that_is_kept(farm: QueueFarm) -> None:
    short = farm.submit(array(10_000), owner="ada")
    busy = Busy(farm, e1=2, e2=2)
    busy.depth = {(short, 0): 5}
    busy.claim()
    assert [len(works) for works in busy.running.values()] == [12, 12]
    wide = farm.submit(array(1, cpu=2), owner="bob")
    assert busy.ends_until(wide, ("e1", "e2")) <= 24


def test_no_room_is_kept_for_what_none_could_hold(farm: QueueFarm) -> None:
    farm.submit(array(5, cpu=4), owner="bob", priority=100)
    narrow = farm.submit(array(100), owner="ada")
    busy = Busy(farm, e1=2, e2=2)
    busy.claim()
    for _ in range(5):
        busy.end("e1")
        assert busy.claim() == {narrow: 1}


def test_many_wide_tasks_leave_half_of_the_rooms_to_others(farm: QueueFarm) -> None:
    narrow = farm.submit(array(2000), owner="zoe")
    rooms = [f"e{n}" for n in range(6)]
    busy = Busy(farm, **dict.fromkeys(rooms, 2))
    busy.claim()
    for n in range(10):
        farm.submit(array(5, cpu=2), owner=f"o{n}")
    for room in rooms:
        busy.end(room)
    assert busy.claim() == {narrow: 3}


def test_another_lane_does_not_take_what_becomes_free_for_a_wide_task(farm: QueueFarm) -> None:
    """Its own lane goes on with narrow work, so that turns between the lanes alternate all the time."""
    farm.submit(array(5000), owner="ada", lane="bulk")
    farm.submit(array(5000), owner="eve", lane="default")
    busy = Busy(farm, e1=8, e2=8)
    busy.claim()
    wide = farm.submit(array(1, cpu=8), owner="bob", lane="bulk", priority=100)
    assert busy.ends_until(wide, ("e1", "e2"), most=200) <= 40


def test_a_wide_task_that_fits_at_last_is_not_sent_back_by_the_turn_of_another_lane(farm: QueueFarm) -> None:
    """Both lanes have had as much, and the other one has more weight: its narrow work would fill the room again."""
    farm.submit(array(5000), owner="ada", lane="bulk")
    farm.submit(array(5000), owner="eve", lane="interactive")
    busy = Busy(farm, e1=8, e2=8)
    busy.claim()
    for _ in range(5):
        busy.end("e2")
        busy.claim()
    wide = farm.submit(array(1, cpu=8), owner="bob", lane="bulk", priority=100)
    assert busy.ends_until(wide, ("e1", "e2", "e2"), most=200) <= 30


@ON_ONE
def test_endless_wide_work_of_one_lane_takes_no_more_than_its_share(farm: QueueFarm) -> None:
    wide = farm.submit(array(500, cpu=2, predicted_s=10), owner="bob", lane="default", priority=100)
    narrow = farm.submit(array(500, predicted_s=10), owner="eve", lane="bulk")
    busy, given_s = Busy(farm, e1=2), Counter[int]()
    given_s += busy.claim()
    for _ in range(120):
        busy.end("e1")
        given_s += busy.claim()
    assert 0.25 <= given_s[narrow] / (given_s[narrow] + 2 * given_s[wide]) <= 0.45  # weights 1 and 2


def test_the_weights_of_owners_come_from_the_settings() -> None:
    config = FarmConfig.model_validate({"owners": {"ada": {"weight": 2}}})
    assert config.owner_weights() == {"ada": 2}
    for wrong in (0, -1, "inf", "nan"):
        with pytest.raises(ValueError, match="weight"):
            FarmConfig.model_validate({"owners": {"ada": {"weight": wrong}}})
