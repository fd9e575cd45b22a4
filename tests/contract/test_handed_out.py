"""What waits on an executor for its turn is told apart from what runs there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert

from executors.contract import Event, EventKind, Work
from executors.packed import Works
from executors.site.protocol import Report
from farm import dispatch
from farm import tables as t
from farm.cli.moments import progress
from farm.clock import micros
from farm.db import Database
from farm.dispatch import Dispatcher
from farm.feed import Feed
from farm.model import Range, StepSpec
from farm.queue import settle
from farm.queue.claim import Claim
from farm.queue.room import Room
from farm.sites import Sites
from tests.contract.queue_farm import LANES, QueueFarm, of


@pytest.fixture
def farm(db: Database) -> QueueFarm:
    made = QueueFarm(db)
    now = made.clock.now()
    row = {"id": "e1", "order": "o", "pool": "local", "site": "local", "state": "ready", "slots": 1, "price_nano": 0}
    with db.write() as tx:
        tx.execute(insert(t.Executor), {**row, "why": "", "ordered": now, "launched": now, "billed_until": now})
    return made


def test_only_what_has_begun_runs(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r", "{index}"), array=Range(first=1, last=9)))
    first, *_ = farm.claim(4)
    assert told(farm, job) == "0/9 done, 4 handed out"
    at = micros(farm.clock.now()) * 1000
    with farm.db.write() as tx:
        settle.started(tx, [Event(1, EventKind.STARTED, first.attempt, first.token, at=at, spool="0-1")])
    assert told(farm, job) == "0/9 done, 1 running, 3 handed out"
    farm.finish([first])
    assert told(farm, job) == "1/9 done, 3 handed out"
    assert farm.job(job)["tasks"]["running"] == farm.job(job)["tasks"]["claimed"] == 3  # type: ignore[index]


def told(farm: QueueFarm, job: int) -> str:
    return progress(farm.job(job)["tasks"])  # type: ignore[arg-type]


def test_the_last_short_tasks_are_shared(farm: QueueFarm) -> None:
    """Else one executor ends long before the other."""
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=100)))
    assert {x: len(works) for x, works in claimed(farm, job, Room("e1", 1, 0), Room("e2", 1, 0)).items()} == {
        "e1": 51,  # what its slot begins with is not behind it
        "e2": 49,
    }


def test_who_is_behind_gets_none_of_the_last_tasks(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=60)))
    got = claimed(farm, job, Room("e1", 1, 200), Room("e2", 1, 100))
    assert {x: len(works) for x, works in got.items()} == {"e2": 60}


def test_who_runs_something_long_counts_for_nothing(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=60)))
    got = claimed(farm, job, Room("e1", 1, 1, held=1), Room("e2", 1, 50))
    assert {x: len(works) for x, works in got.items()} == {"e2": 60}


def test_far_from_the_end_all_get_as_much_as_they_can_take(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=2000)))
    got = claimed(farm, job, Room("e1", 1, 0), Room("e2", 1, 270))
    assert {x: len(works) for x, works in got.items()} == {"e1": 401, "e2": 131}


def test_who_has_nearly_enough_is_left_alone_until_he_has_less(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=2000)))
    assert not claimed(farm, job, Room("e1", 1, 300))
    assert not claimed(farm, job, Room("e1", 2, 600))
    assert len(claimed(farm, job, Room("e1", 2, 500))["e1"]) == 302


def claimed(farm: QueueFarm, job: int, *rooms: Room) -> Mapping[str, Sequence[Work]]:
    """What they get when 400 of its tasks may wait behind a slot."""
    with farm.db.write() as tx:
        return Claim(tx, LANES, 1, farm.clock.now()).fill(list(rooms), {(job, 0): 400})


SHAPES: list[dict[str, object]] = [
    {"argv": ["r", "x"]},
    {"argv": ["r"], "env": {"FARM_INDEX": "mine", "Ä": '"\\'}, "cwd": "w", "timeout_s": 3.5},
    {"argv": ["r", "{index}"]},
    {"argv": ["r"], "secrets": {"T": "file:/x"}},
    {"argv": ["r"], "outputs": ["o/*"], "silence_s": 2, "processes": 7},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_travels_is_what_was_handed_out(farm: QueueFarm, shape: dict[str, object]) -> None:
    """Of tasks that are alike no work is made here: the executor makes the same of what is sent."""
    farm.submit(StepSpec.model_validate({**shape, "array": Range(first=5, last=35, step=3)}))
    with farm.db.write() as tx:
        (handed,) = Claim(tx, LANES, 3, farm.clock.now()).fill([Room("e1", 16, 0)], {}).values()
    sent = [work for works in handed.packed() for work in Works(works.data, len(works))]
    assert [*sent, *handed.secret()] == list(handed)
    assert len(handed) == 11
    assert {work.term for work in handed} == {3}


def test_tasks_that_go_again_come_in_their_place(farm: QueueFarm) -> None:
    farm.submit(StepSpec(argv=("r",), array=Range(first=1, last=5), retries=1))
    farm.finish(farm.claim(2), exit=3)
    works = farm.claim(5)
    assert sorted(w.attempt.split(".", 1)[1] for w in works) == ["1.2", "2.2", "3.1", "4.1", "5.1"]
    assert len({w.token for w in works}) == 5


EXECUTORS = dispatch.HELPINGS + 36


@pytest.fixture
def wide(db: Database) -> QueueFarm:
    made = QueueFarm(db)
    now = made.clock.now()
    row = {"order": "o", "pool": "local", "site": "local", "state": "ready", "slots": 1, "price_nano": 0, "why": ""}
    row |= {"ordered": now, "launched": now, "billed_until": now, "idle_since": now}
    with db.write() as tx:
        tx.execute(insert(t.Executor), [{**row, "id": f"x{n}"} for n in range(EXECUTORS)])
    return made


def test_a_decision_is_bounded_and_fair_and_the_next_one_goes_on(wide: QueueFarm) -> None:
    jobs = [wide.submit(StepSpec(argv=("r",), array=Range(first=1, last=500)), owner=owner) for owner in ("ada", "bob")]
    dispatcher, given = Dispatcher(LANES, 1), []
    for expected in ((dispatch.HELPINGS, True), (36, False), (0, False)):
        with wide.db.write() as tx:
            works = dispatcher.assign(tx, wide.clock.now())
        assert (sum(map(len, works.values())), dispatcher.cut) == expected
        given.append(Counter(of(work) for handed in works.values() for work in handed))
    assert given[:2] == [dict.fromkeys(jobs, dispatch.HELPINGS // 2), dict.fromkeys(jobs, 18)]


def test_what_a_decision_left_is_handed_out_without_another_event(wide: QueueFarm, tmp_path: Path) -> None:
    sites = Sites(wide.db, wide.clock, Dispatcher(LANES, 1), tmp_path, Feed(), lambda: None, 60)
    term = sites.sync(Report("s", 1, 0, snapshot=())).term
    wide.submit(StepSpec(argv=("r",), array=Range(first=1, last=500)))
    sites.kick()
    received = 0
    begun: set[str] = set()
    while len(begun) < EXECUTORS:
        messages = sites.sync(Report("s", term, received, wait_s=100)).messages
        assert messages, "nobody goes on"
        received = messages[-1].n
        begun |= {m.executor for m in messages if m.kind == "start"}
    sites.close()
