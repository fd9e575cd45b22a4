"""Jobs that ended long ago go in small parts, and the books hold between any two of them."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from farm import forgetting
from farm import tables as t
from farm.forgetting import forget
from farm.integrity import look
from farm.model import Item, Range, StepSpec
from farm.queue.cancel import cancel
from farm.reference import parse_reference
from farm.refusal import Conflict
from tests.contract.queue_farm import QueueFarm

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "GROUP", 4)


def array(last: int = 10, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("r",), "array": Range(first=1, last=last), **more})


class Watched:
    """Looks at the books whenever others might."""

    def __init__(self, farm: QueueFarm) -> None:
        self.farm, self.looks = farm, 0

    def __call__(self, _seconds: float) -> None:
        self.looks += 1
        assert [f.what for f in look(self.farm.db) if f.rule not in ("turns",)] == []


def executor(farm: QueueFarm) -> None:
    now = farm.clock.now()
    facts = {"id": "e1", "order": "o", "site": "s", "state": "ready", "price_nano": 0, "why": "", "pool": "local"}
    times = {"ordered": now, "launched": now, "billed_until": now, "ready": now}
    order = {"token": "o", "pool": "local", "machines": 1, "slots": 4, "state": "closed", "why": ""}
    with farm.db.write() as tx:
        tx.execute(insert(t.Order), [{**order, "created": now, "not_before": now}])
        tx.execute(insert(t.Executor), [{**facts, "slots": 4, **times}])


def count(farm: QueueFarm, table: type[t.Base]) -> int:
    with farm.db.read() as tx:
        return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


def cancelled(farm: QueueFarm, ref: str) -> None:
    with farm.db.write() as tx:
        cancel(tx, parse_reference(ref), farm.clock.now())


def history(farm: QueueFarm) -> list[int]:
    """Jobs of every end: done, failed, cancelled before and while it ran, with steps that were skipped."""
    executor(farm)
    done = farm.submit(array(11), StepSpec(name="film", argv=("f",), after=("main",)))
    farm.run(done)
    failed = farm.submit(array(9), array(7, name="then", after=("main",)))
    farm.run(failed, fail=lambda work: work.attempt.split(".")[1] in ("2", "5", "8"))
    never = farm.submit(array(10))
    cancelled(farm, f"{never}.3")
    cancelled(farm, str(never))
    half = farm.submit(array(12))
    works = farm.claim(4)
    cancelled(farm, str(half))
    farm.finish(works)
    early = farm.submit(array(10))
    cancelled(farm, f"{early}.7")
    farm.run(early)
    names = [f"i{n}" for n in range(9)]
    after = {names[n]: (names[n // 3],) for n in range(1, 9)}
    items = tuple(Item(name=name, argv=("b",), after=after.get(name, ())) for name in names)
    graph = farm.submit(StepSpec(items=items), kind="packages")
    farm.run(graph, fail=lambda work: work.attempt.split(".")[1] == "2")
    small = [farm.submit(StepSpec(argv=("x",))) for _ in range(3)]
    for job in small:
        farm.run(job)
    skipped = farm.submit(array(9), array(9, name="then", after=("main",)))
    for n in (11, 12, 14, 16, 18):
        cancelled(farm, f"{skipped}.{n}")
    farm.run(skipped, fail=lambda _: True)
    return [done, failed, never, half, early, graph, *small, skipped]


def test_all_of_old_jobs_goes_and_the_books_hold_at_every_moment(farm: QueueFarm) -> None:
    jobs, watched = history(farm), Watched(farm)
    farm.clock.turn(90 * 86400)
    cancelled(farm, str(farm.submit(array(5))))
    watched(0)
    gone = forget(farm.db, farm.clock.now() - 30 * DAY, wait=watched)
    assert (gone.jobs, gone.tasks) == (len(jobs), 12 + 16 + 10 + 12 + 10 + 9 + 3 + 18)
    assert watched.looks > 20
    for table in (t.Task, t.Attempt, t.TaskEdge):
        assert count(farm, table) == 0
    assert count(farm, t.Job) == count(farm, t.Step) == 1


def test_what_is_young_open_or_needed_stays(farm: QueueFarm) -> None:
    executor(farm)
    before = farm.submit(StepSpec(argv=("x",)))
    held = farm.submit(StepSpec(argv=("x",)), after=[before], held=True)
    farm.run(before)
    farm.clock.turn(90 * 86400)
    young = farm.submit(array(9))
    farm.run(young)
    waits = farm.submit(array(9))
    old, watched = farm.clock.now() - 30 * DAY, Watched(farm)
    assert forget(farm.db, old, wait=watched).jobs == 0
    assert [farm.state(job) for job in (before, held, young, waits)] == ["done", "held", "done", "queued"]


def test_the_bill_stays_with_the_number_of_its_job(farm: QueueFarm) -> None:
    executor(farm)
    job = farm.submit(StepSpec(argv=("x",)))
    farm.run(job)
    bill(farm, job, farm.clock.now())
    farm.clock.turn(90 * 86400)
    other = farm.submit(StepSpec(argv=("x",)))
    farm.run(other)
    bill(farm, other + 1000, farm.clock.now())
    assert forget(farm.db, farm.clock.now() - 30 * DAY, wait=lambda _s: None).jobs == 1
    assert count(farm, t.Ledger) == 2
    assert [f.what for f in look(farm.db) if "is for job" in f.what] == [
        f"ledger row 2 is for job {other + 1000}, which is not there"
    ]


def test_a_job_on_a_younger_bill_stays(farm: QueueFarm) -> None:
    """An executor idled for it for a long time."""
    executor(farm)
    job = farm.submit(StepSpec(argv=("x",)))
    farm.run(job)
    farm.clock.turn(90 * 86400)
    bill(farm, job, farm.clock.now())
    assert forget(farm.db, farm.clock.now() - 30 * DAY, wait=lambda _s: None).jobs == 0


def bill(farm: QueueFarm, job: int, until: datetime) -> None:
    row = {"executor": "e1", "pool": "local", "kind": "idle", "job": job, "owner": "ada", "project": "", "micros": 1}
    with farm.db.write() as tx:
        tx.execute(insert(t.Ledger), {**row, "since": until - DAY, "until": until, "price_nano": 0, "cost_nano": 0})


def test_a_number_is_never_given_again(farm: QueueFarm) -> None:
    """The newest job stays, however old it is."""
    executor(farm)
    jobs = [farm.submit(array(9)) for _ in range(3)]
    for job in jobs:
        farm.run(job)
    farm.clock.turn(90 * 86400)
    assert forget(farm.db, farm.clock.now(), wait=lambda _s: None).jobs == 2
    assert farm.state(jobs[-1]) == "done"
    assert farm.submit(array(9)) == jobs[-1] + 1


def test_a_trial_removes_nothing(farm: QueueFarm) -> None:
    jobs = history(farm)
    farm.clock.turn(90 * 86400)
    assert forget(farm.db, farm.clock.now(), dry=True).jobs == len(jobs) - 1
    assert count(farm, t.Job) == len(jobs)


def test_a_large_job_that_was_half_forgotten_is_forgotten_the_next_time(farm: QueueFarm) -> None:
    executor(farm)
    farm.run(farm.submit(array(30)))
    farm.clock.turn(90 * 86400)
    farm.submit(array(9))

    class Cut(Exception):
        pass

    def cut(_seconds: float) -> None:
        raise Cut

    with pytest.raises(Cut):
        forget(farm.db, farm.clock.now(), wait=cut)
    assert count(farm, t.Task) == 26
    Watched(farm)(0)
    assert forget(farm.db, farm.clock.now(), wait=Watched(farm)).tasks == 26
    assert count(farm, t.Job) == 1


def ended_long_ago(farm: QueueFarm, tasks: int) -> int:
    """A job of so many failed tasks, between others."""
    executor(farm)
    farm.run(farm.submit(array(3)))
    job = farm.submit(array(tasks))
    farm.run(job, fail=lambda _work: True)
    farm.submit(array(9))
    farm.clock.turn(90 * 86400)
    return job


def test_what_is_told_to_go_again_meanwhile_is_not_forgotten(farm: QueueFarm) -> None:
    job = ended_long_ago(farm, 3)
    watched, again = Watched(farm), []

    def retried(seconds: float) -> None:
        if not again:
            again.append(farm.retry(str(job)))
        watched(seconds)

    forget(farm.db, farm.clock.now(), wait=retried)
    assert again == [3]
    farm.run(job)
    assert farm.state(job) == "done"
    watched(0)


def test_nothing_of_a_job_goes_again_of_which_a_part_is_forgotten(farm: QueueFarm) -> None:
    job = ended_long_ago(farm, 30)
    watched, refused = Watched(farm), []

    def retried(seconds: float) -> None:
        if 4 < count(farm, t.Task) < 30:
            with pytest.raises(Conflict, match="a part of it is forgotten already"):
                farm.retry(str(job))
            refused.append(job)
        watched(seconds)

    forget(farm.db, farm.clock.now(), wait=retried)
    assert len(refused) > 2
    assert count(farm, t.Task) == 0


def test_a_large_job_that_goes_again_before_its_turn_stays_whole(
    farm: QueueFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for what is old and its first part."""
    job = ended_long_ago(farm, 30)
    large = forgetting._large

    def late(*about: object) -> None:
        farm.retry(str(job))
        large(*about)  # type: ignore[arg-type]

    monkeypatch.setattr(forgetting, "_large", late)
    forget(farm.db, farm.clock.now(), wait=Watched(farm))
    assert count(farm, t.Task) == 30
    farm.run(job)
    assert farm.state(job) == "done"
