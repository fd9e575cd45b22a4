"""What waits for several others is let go once, however many of them end together; on every database."""

import pytest

from executors.contract import Event, EventKind
from farm import read
from farm.clock import micros
from farm.model import Item, StepSpec
from farm.queue import settle
from tests.contract.queue_farm import QueueFarm, made


def items(**after: tuple[str, ...]) -> StepSpec:
    return StepSpec(items=tuple(Item(name=name, argv=(name,), after=before) for name, before in after.items()))


def test_all_that_one_waits_for_may_end_together(farm: QueueFarm) -> None:
    job = farm.submit(items(a=(), b=(), c=(), last=("a", "b", "c"), other=("a",)))
    works = farm.claim(3)
    farm.finish(works[:2])
    assert farm.tasks(job)["last"] == "blocked"
    assert farm.tasks(job)["other"] == "ready"
    farm.finish(works[2:])
    assert farm.tasks(job)["last"] == "ready"


def test_one_that_fails_among_those_that_end_together_is_enough(farm: QueueFarm) -> None:
    job = farm.submit(items(a=(), b=(), last=("a", "b"), behind=("last",)))
    good, bad = farm.claim(2)
    now = micros(farm.clock.now()) * 1000
    ends = [Event(1, EventKind.FINISHED, w.attempt, w.token, at=now, exit=e) for w, e in ((good, 0), (bad, 3))]
    with farm.db.write() as tx:
        settle.finished(tx, [("e1", end) for end in ends], farm.clock.now())
    assert farm.tasks(job)["last"] == farm.tasks(job)["behind"] == "skipped"


def test_nothing_new_in_all_of_them_is_nothing_to_do(farm: QueueFarm) -> None:
    before = tuple({"path": f"{name}.whl", "digest": "0" * 64, "size": 3} for name in "ab")
    first = [
        Item.model_validate({"name": n, "argv": (n,), "previous": (file,)})
        for n, file in zip("ab", before, strict=True)
    ]
    last = Item.model_validate({"name": "last", "argv": ("last",), "after": ("a", "b"), "changed": False})
    job = farm.submit(StepSpec(items=(*first, last)))
    works = farm.claim(2)
    farm.finish(works[:1], outputs=(made("a.whl"),))
    farm.finish(works[1:], outputs=(made("b.whl"),))
    assert farm.tasks(job)["last"] == "skipped"
    assert farm.state(job) == "done"


def test_something_new_in_one_of_them_is_a_reason(farm: QueueFarm) -> None:
    first = [Item(name=name, argv=(name,)) for name in "ab"]
    last = Item.model_validate({"name": "last", "argv": ("last",), "after": ("a", "b"), "changed": False})
    job = farm.submit(StepSpec(items=(*first, last)))
    works = farm.claim(2)
    farm.finish(works, outputs=(made("x.whl"),))
    assert farm.tasks(job)["last"] == "ready"


def test_more_than_one_answer_holds_may_be_let_down_by_one(farm: QueueFarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST", 3)
    monkeypatch.setattr(read, "_FINISHED_SINCE", read._FINISHED_SINCE.limit(4))
    job = farm.submit(items(a=(), b=(), **{f"x{n}": ("a",) for n in range(6)}))
    works = farm.claim(2)
    farm.finish(works[:1], exit=1)
    farm.finish(works[1:])
    seen, told = 0, []
    for _ in range(4):
        with farm.db.read() as tx:
            new, seen = read.finished_since(tx, job, seen)
        told += [task["name"] for task in new]
    assert told == ["a", *(f"x{n}" for n in range(6)), "b"]
