"""What a claim asks and writes: few statements, and all or nothing."""

import pytest
from sqlalchemy import event, select, update

from farm import tables as t
from farm.db import Database
from farm.model import ManyJobs, Range, StepSpec
from farm.queue.claim import Claim
from farm.queue.handed import Portion
from farm.queue.many import submit_many
from farm.queue.room import Room
from tests.contract.queue_farm import LANES, QueueFarm


@pytest.fixture
def farm(db: Database) -> QueueFarm:
    return QueueFarm(db)


def array(tasks: int) -> StepSpec:
    return StepSpec(argv=("true",), array=Range(first=1, last=tasks))


def test_a_claim_of_an_array_is_few_statements(farm: QueueFarm) -> None:
    farm.submit(array(100))
    farm.claim(2)
    told: list[str] = []

    def hear(_connection, _cursor, statement, *_more) -> None:
        told.append(statement)

    event.listen(farm.db.engine, "before_cursor_execute", hear)
    assert len(farm.claim(10)) == 10
    event.remove(farm.db.engine, "before_cursor_execute", hear)
    assert len(told) <= (9 if farm.db.sqlite else 6), told


def test_who_is_alone_fills_all_rooms_as_far_as_one_claim_may_hand_out(farm: QueueFarm) -> None:
    farm.submit(array(100))
    with farm.db.write() as tx:
        claim = Claim(tx, LANES, 1, farm.clock.now())
        claim.portion = Portion(400, 3)
        works = claim.fill([Room(f"e{n}", 2, 0) for n in range(5)], {})
    assert {name: len(handed) for name, handed in works.items()} == {"e0": 2, "e1": 2, "e2": 2}
    assert claim.portion.cut
    assert farm.claim_on({"e3": 2, "e4": 3}).keys() == {"e3", "e4"}
    assert farm.counts(1) == {"running": 11, "ready": 89}


def test_who_had_all_handed_out_waits_no_more_and_who_has_more_does(farm: QueueFarm) -> None:
    def waiting() -> set[str]:
        with farm.db.read() as tx:
            return set(tx.execute(select(t.OwnerFact.owner).where(t.OwnerFact.backlogged)).scalars())

    farm.submit(array(2), owner="ada")
    farm.submit(array(9), owner="bob")
    assert len(farm.claim(6)) == 6
    assert waiting() == {"bob"}
    with farm.db.write() as tx:
        job = {"name": "many", "owner": "eve", "steps": [{"argv": ["true"]}]}
        many = ManyJobs.model_validate({"job": job, "commands": [[]] * 3})
        submit_many(tx, many, LANES, farm.clock.now())
    while farm.claim(3):
        pass
    assert waiting() == set()


def test_a_claim_that_finds_the_queue_otherwise_writes_nothing(
    farm: QueueFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = farm.submit(array(5))
    fill = Claim._share_out

    def overtaken(claim: Claim, *about: object) -> object:
        found = fill(claim, *about)  # type: ignore[arg-type]
        claim._tx.execute(update(t.Step).values(next=t.Step.next + 1))  # as if another had handed it out meanwhile
        return found

    monkeypatch.setattr(Claim, "_share_out", overtaken)
    with pytest.raises(RuntimeError, match="moved under a claim"):
        farm.claim(2)
    assert farm.counts(job) == {"ready": 5}
