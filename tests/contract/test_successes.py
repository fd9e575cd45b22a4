"""Many tasks that end well together end as each of them would alone, and nothing else does."""

from itertools import chain

import pytest
from sqlalchemy import delete, select, update

from executors.contract import Event, EventKind, FileRef, Work
from farm import tables as t
from farm.clock import micros
from farm.model import Range, StepSpec
from farm.queue import settle
from farm.queue.cancel import cancel
from farm.read import finished_since
from farm.reference import parse_reference
from tests.contract.queue_farm import QueueFarm

S = 1_000_000_000


def array(last: int, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x",), "array": Range(first=1, last=last), **more})


def ends(farm: QueueFarm, works: list[Work], **facts: object) -> list[tuple[str, Event]]:
    begun = micros(farm.clock.now()) * 1000
    shape = {"started": begun, "at": begun + S, "cpu_ms": 7, "rss_kib": 9, "spool": "0-1", "lo": 3, "hi": 5, **facts}
    return [("e1", Event(n, EventKind.FINISHED, w.attempt, w.token, **shape)) for n, w in enumerate(works, 1)]  # type: ignore[arg-type]


def settled(farm: QueueFarm, reports: list[tuple[str, Event]]) -> settle.Settled:
    with farm.db.write() as tx:
        return settle.finished(tx, reports, farm.clock.now())


def rows(farm: QueueFarm, job: int) -> list[dict[str, object]]:
    """All that is written of its attempts, tasks, steps and the job itself, but for what differs between two jobs."""
    with farm.db.read() as tx:
        attempts = tx.execute(select(t.Attempt).where(t.Attempt.job == job).order_by(t.Attempt.number)).mappings()
        tasks = tx.execute(select(t.Task).where(t.Task.job == job).order_by(t.Task.number)).mappings()
        about = tx.execute(select(t.Step).where(t.Step.job == job)).mappings()
        whole = tx.execute(select(t.Job).where(t.Job.id == job)).mappings()
        unlike = ("id", "job", "token", "changed", "changes", "submitted", "due", "claimed", "predicted_s")
        kept = chain(attempts, tasks, about, whole)
        return [{k: v for k, v in row.items() if k not in unlike} for row in kept]


@pytest.fixture(params=[None, {"message": "3 links were left out"}, {"exit": 4}, {"cause": "lost"}, {"started": 0}])
def odd(request: pytest.FixtureRequest) -> dict[str, object] | None:
    found: dict[str, object] | None = request.param
    return found


def test_together_is_as_alone(farm: QueueFarm, odd: dict[str, object] | None) -> None:
    at = farm.clock.now()
    found = []
    for together in (True, False):
        job = farm.submit(array(8))
        works = farm.claim(8)
        reports = ends(farm, works)
        if odd:
            reports[5] = ends(farm, works, **odd)[5]
        for part in [reports] if together else [[one] for one in reports]:
            settled(farm, part)
        found.append(rows(farm, job))
        with farm.db.write() as tx:  # of the first nothing is left for the second to go on with
            tx.execute(delete(t.Duration))
            tx.execute(delete(t.Attempt).where(t.Attempt.finished.is_(None)))
            tx.execute(update(t.Task).where(t.Task.state == "ready").values(state="failed"))
    assert at == farm.clock.now()
    assert found[0] == found[1]


def test_they_are_settled_together(farm: QueueFarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above compares nothing."""
    monkeypatch.setattr(settle, "_finish_job", lambda *_: pytest.fail("one by one"))
    farm.submit(array(8))
    done = settled(farm, ends(farm, farm.claim(8)))
    assert (done.freed, len(done.outcomes), [len(s) for s in done.seconds.values()]) == ({"e1": 8}, 8, [8])


def test_the_job_ends_and_counts_each_once(farm: QueueFarm) -> None:
    job = farm.submit(array(8))
    reports = ends(farm, farm.claim(8))
    assert settled(farm, [*reports, *reports]).changed.ended == {job}  # a repetition within a report
    settled(farm, reports)  # and a report that comes again
    assert (farm.state(job), farm.counts(job)) == ("done", {"done": 8})


def test_another_token_or_executor_ends_nothing(farm: QueueFarm) -> None:
    job = farm.submit(array(8))
    reports = ends(farm, farm.claim(8))
    forged = [("e2", event) for _, event in reports[:2]]
    stale = [("e1", Event(e.seq, e.kind, e.attempt, e.token + 1, e.at, e.started)) for _, e in reports[2:4]]
    settled(farm, [*forged, *stale, *reports[4:]])
    assert farm.counts(job) == {"done": 4, "running": 4}
    with farm.db.read() as tx:
        assert len(tx.execute(select(t.Refused)).all()) == 4


def test_outputs_are_kept(farm: QueueFarm) -> None:
    job = farm.submit(array(8))
    reports = ends(farm, farm.claim(8), outputs=(FileRef("a", "0" * 64, 1),))
    settled(farm, reports)
    with farm.db.read() as tx:
        kept = tx.execute(select(t.Task.outputs).where(t.Task.job == job)).scalars().all()
    assert [files[0]["path"] for files in kept] == ["a"] * 8  # type: ignore[index]


def test_who_waits_is_told_of_each_once(farm: QueueFarm) -> None:
    job = farm.submit(array(12))
    seen, told = 0, []
    for _ in range(2):
        settled(farm, ends(farm, farm.claim(6)))
        with farm.db.read() as tx:
            new, seen = finished_since(tx, job, seen)
        told.append([int(task["ref"].split(".")[1]) for task in new])
    assert [len(part) for part in told] == [6, 6]
    assert sorted(chain(*told)) == list(range(1, 13))


@pytest.mark.parametrize("items", [True, False])
def test_what_was_told_is_not_told_again_when_the_rest_is_cancelled(farm: QueueFarm, items: bool) -> None:
    many = (
        {"items": [{"name": f"i{n}", "argv": ["x"]} for n in range(3)]} if items else {"array": Range(first=1, last=3)}
    )
    job = farm.submit(StepSpec.model_validate({"argv": ["x"], **many}))
    farm.finish(farm.claim(1))
    with farm.db.read() as tx:
        told, seen = finished_since(tx, job, 0)
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    with farm.db.read() as tx:
        again, _ = finished_since(tx, job, seen)
    assert [task["ref"] for task in told] == [f"{job}.1"]
    assert f"{job}.1" not in [task["ref"] for task in again]
    assert farm.state(job) == "cancelled"
