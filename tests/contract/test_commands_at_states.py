"""`farm cancel` and `farm retry` at every state of job and task: each works, or answers a sentence; nothing breaks."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from executors.contract import Work
from farm import tables as t
from farm.model import AttemptState, Item, JobState, Range, StepSpec, TaskState
from farm.queue import settle
from farm.queue.cancel import cancel
from farm.queue.retry import retry
from farm.reference import parse_reference
from farm.refusal import Refusal
from tests.contract.queue_farm import QueueFarm, made, of
from tests.contract.why_scenes import begin, vars_of


def step(**more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("render",), **more})


def item(name: str, *after: str, **more: object) -> Item:
    return Item.model_validate({"name": name, "argv": ("b", name), "after": after, **more})


# ── states: each makes a job whose task 2 (or 1, where there is one) is in it ──


def held(farm: QueueFarm) -> str:
    return f"{farm.submit(StepSpec(items=(item('a'),)), held=True)}.1"


def blocked_by_a_task(farm: QueueFarm) -> str:
    return f"{farm.submit(StepSpec(items=(item('a'), item('b', 'a'))))}.2"


def blocked_by_a_step(farm: QueueFarm) -> str:
    return f"{farm.submit(step(), StepSpec(name='film', items=(item('f'),), after=('main',)))}.2"


def blocked_by_a_job(farm: QueueFarm) -> str:
    return f"{farm.submit(StepSpec(items=(item('a'),)), after=(farm.submit(step()),))}.1"


def untouched(farm: QueueFarm) -> str:
    return f"{farm.submit(step(array=Range(first=1, last=3)))}.2"


def ready(farm: QueueFarm) -> str:
    return f"{farm.submit(StepSpec(items=(item('a'), item('b'))))}.2"


def paused(farm: QueueFarm) -> str:
    job = farm.submit(step(licence_exit=77))
    farm.finish(farm.claim(), exit=77)
    return f"{job}.1"


def claimed(farm: QueueFarm) -> str:
    job = farm.submit(step(array=Range(first=1, last=2)))
    farm.claim(2)
    return f"{job}.2"


def started(farm: QueueFarm) -> str:
    job = farm.submit(step(array=Range(first=1, last=2)))
    for work in farm.claim(2):
        begin(farm, work)
    return f"{job}.2"


def tried_again(farm: QueueFarm) -> str:
    job = farm.submit(step(retries=3))
    farm.finish(farm.claim(), exit=1)
    farm.claim()
    return f"{job}.1"


def done(farm: QueueFarm) -> str:
    job = farm.submit(step())
    farm.finish(farm.claim())
    return f"{job}.1"


def done_of_an_open_job(farm: QueueFarm) -> str:
    job = farm.submit(step(array=Range(first=1, last=2)))
    farm.finish([w for w in farm.claim(2) if w.attempt == f"{job}.2.1"])
    return f"{job}.2"


def failed(farm: QueueFarm) -> str:
    job = farm.submit(step())
    farm.finish(farm.claim(), exit=1)
    return f"{job}.1"


def failed_of_an_open_job(farm: QueueFarm) -> str:
    job = farm.submit(step(array=Range(first=1, last=2)))
    farm.finish([w for w in farm.claim(2) if w.attempt == f"{job}.2.1"], exit=1)
    return f"{job}.2"


def cancelled(farm: QueueFarm) -> str:
    ref = started(farm)
    drop(farm, ref.split(".")[0])
    return ref


def cancelled_of_an_open_job(farm: QueueFarm) -> str:
    ref = started(farm)
    drop(farm, ref)
    return ref


def cancelled_before_it_ran(farm: QueueFarm) -> str:
    ref = untouched(farm)
    drop(farm, ref.split(".")[0])
    return ref


def skipped(farm: QueueFarm) -> str:
    job = farm.submit(StepSpec(items=(item("a"), item("b", "a"))))
    farm.finish(farm.claim(), exit=1)
    return f"{job}.2"


def unchanged(farm: QueueFarm) -> str:
    old = made("a.whl")
    job = farm.submit(StepSpec(items=(item("a", previous=[vars_of(old)]), item("b", "a", changed=False))))
    farm.finish(farm.claim(), outputs=(old,))
    return f"{job}.2"


def absent(farm: QueueFarm) -> str:
    return f"{farm.submit(step())}.99"


Outcome = str  # states of job and task afterwards, or what the sentence says
TABLE: dict[Callable[[QueueFarm], str], dict[str, Outcome]] = {
    held: {
        "cancel job": "cancelled cancelled",
        "cancel task": "cancelled cancelled",
        "retry job": "!nothing of 1 failed",
        "retry task": "!nothing of 1.1 failed",
    },
    blocked_by_a_task: {
        "cancel job": "cancelled cancelled",
        "cancel task": "queued cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    blocked_by_a_step: {
        "cancel job": "cancelled cancelled",
        "cancel task": "queued cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    blocked_by_a_job: {
        "cancel job": "cancelled cancelled",
        "cancel task": "cancelled cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    untouched: {
        "cancel job": "cancelled -",
        "cancel task": "queued cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    ready: {
        "cancel job": "cancelled cancelled",
        "cancel task": "queued cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    paused: {
        "cancel job": "cancelled cancelled",
        "cancel task": "cancelled cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    claimed: {
        "cancel job": "cancelled cancelled",
        "cancel task": "running cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    started: {
        "cancel job": "cancelled cancelled",
        "cancel task": "running cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    tried_again: {
        "cancel job": "cancelled cancelled",
        "cancel task": "cancelled cancelled",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    done: {
        "cancel job": "!job 1 is done already",
        "cancel task": "!job 1 is done already",
        "retry job": "!nothing of 1 failed",
        "retry task": "!nothing of 1.1 failed",
    },
    done_of_an_open_job: {
        "cancel job": "cancelled done",
        "cancel task": "!task 1.2 is done already",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    failed: {
        "cancel job": "!job 1 is failed already",
        "cancel task": "!job 1 is failed already",
        "retry job": "queued ready",
        "retry task": "queued ready",
    },
    failed_of_an_open_job: {
        "cancel job": "failed failed",
        "cancel task": "!task 1.2 is failed already",
        "retry job": "running ready",
        "retry task": "running ready",
    },
    cancelled: {
        "cancel job": "!job 1 is cancelled already",
        "cancel task": "!job 1 is cancelled already",
        "retry job": "queued ready",
        "retry task": "queued ready",
    },
    cancelled_of_an_open_job: {
        "cancel job": "cancelled cancelled",
        "cancel task": "!task 1.2 is cancelled already",
        "retry job": "running ready",
        "retry task": "running ready",
    },
    cancelled_before_it_ran: {
        "cancel job": "!job 1 is cancelled already",
        "cancel task": "!job 1 is cancelled already",
        "retry job": "queued -",
        "retry task": "!retry the whole job",
    },
    skipped: {
        "cancel job": "!job 1 is failed already",
        "cancel task": "!job 1 is failed already",
        "retry job": "queued blocked",
        "retry task": "!retry the whole job",
    },
    unchanged: {
        "cancel job": "!job 1 is done already",
        "cancel task": "!job 1 is done already",
        "retry job": "!nothing of",
        "retry task": "!nothing of",
    },
    absent: {
        "cancel job": "cancelled -",
        "cancel task": "!job 1 has no task 99",
        "retry job": "!nothing of",
        "retry task": "!job 1 has no task 99",
    },
}
CASES = [(state, command) for state in TABLE for command in TABLE[state]]


def drop(farm: QueueFarm, ref: str) -> list[str]:
    with farm.db.write() as tx:
        return [attempt for _, attempt in cancel(tx, parse_reference(ref), farm.clock.now()).attempts]


def do(farm: QueueFarm, command: str, ref: str) -> None:
    verb, what = command.split()
    about = parse_reference(ref if what == "task" else ref.split(".")[0])
    with farm.db.write() as tx:
        if verb == "cancel":
            cancel(tx, about, farm.clock.now())
        else:
            retry(tx, about)


def states(farm: QueueFarm, ref: str) -> str:
    job, number = ref.split(".")
    with farm.db.read() as tx:
        task = tx.execute(select(t.Task.state).where(t.Task.job == int(job), t.Task.number == int(number)))
        return f"{farm.state(int(job))} {task.scalar_one_or_none() or '-'}"


def counters(farm: QueueFarm, job: int) -> None:
    """What the job counts is what its tasks are."""
    with farm.db.read() as tx:
        row = tx.execute(select(t.Job).where(t.Job.id == job)).one()
        left = tx.execute(select(func.sum(t.Step.left)).where(t.Step.job == job)).scalar_one()
        running = tx.execute(
            select(func.count()).where(t.Attempt.job == job, t.Attempt.finished.is_(None))
        ).scalar_one()
    assert row.running == running
    assert left == row.total - row.done - row.failed - row.cancelled - row.skipped
    assert min(row.done, row.failed, row.cancelled, row.skipped, left) >= 0


def accepted_once(farm: QueueFarm) -> None:
    with farm.db.read() as tx:
        good = select(t.Attempt.job, t.Attempt.number, func.count().label("n"))
        good = good.where(t.Attempt.state == AttemptState.SUCCEEDED).group_by(t.Attempt.job, t.Attempt.number)
        assert all(row.n == 1 for row in tx.execute(good))
        tasks = tx.execute(select(t.Task).where(t.Task.state == TaskState.DONE)).all()
        assert all(task.accepted for task in tasks)


def test_every_state_is_in_the_table(farm: QueueFarm) -> None:
    seen: set[str] = set()
    for state in TABLE:
        job, task = states(farm, state(farm)).split()
        seen |= {f"job {job}", f"task {task}"}
        with farm.db.write() as tx:  # the next one starts with an empty queue
            tx.execute(t.Job.__table__.update().values(state="done"))  # type: ignore[attr-defined]
    assert {f"job {s}" for s in JobState} | {f"task {s}" for s in TaskState} <= seen


@pytest.mark.parametrize(("state", "command"), [pytest.param(s, c, id=f"{s.__name__}-{c}") for s, c in CASES])
def test_each_works_or_answers_a_sentence(farm: QueueFarm, state: Callable[[QueueFarm], str], command: str) -> None:
    ref, expected = state(farm), TABLE[state][command]
    before = states(farm, ref)
    if expected.startswith("!"):
        with pytest.raises(Refusal) as caught:
            do(farm, command, ref)
        assert expected[1:] in str(caught.value)
        assert states(farm, ref) == before
    else:
        do(farm, command, ref)
        assert states(farm, ref) == expected
    counters(farm, of_ref(ref))
    _finish_all(farm)
    counters(farm, of_ref(ref))
    accepted_once(farm)
    assert farm.state(of_ref(ref)) in ("done", "failed", "cancelled") or state is held


def _finish_all(farm: QueueFarm) -> None:
    """Whatever runs succeeds, whatever pauses comes again, until there is nothing to do."""
    for _ in range(20):
        farm.finish(_alive(farm))
        farm.clock.turn(600)
        if not farm.claim(4) and not _alive(farm):
            return


def _alive(farm: QueueFarm) -> list[Work]:
    with farm.db.read() as tx:
        rows = tx.execute(select(t.Attempt).where(t.Attempt.finished.is_(None))).all()
    return [Work(f"{r.job}.{r.number}.{r.ordinal}", r.token, 1, ("render",)) for r in rows]


def of_ref(ref: str) -> int:
    return int(ref.split(".")[0])


@pytest.mark.parametrize("order", ["old first", "new first"])
@pytest.mark.parametrize("end", [0, 1, -15])
@pytest.mark.parametrize("begun", [True, False])
def test_a_retry_while_the_cancelled_attempt_has_its_grace(farm: QueueFarm, order: str, end: int, begun: bool) -> None:
    job = farm.submit(step())
    old = farm.claim()
    if begun:
        begin(farm, old[0])
    assert drop(farm, str(job)) == [f"{job}.1.1"]
    farm.retry(str(job))
    new = farm.claim()
    assert [w.attempt for w in new] == [f"{job}.1.2"]
    ends = [(old, end), (new, 0)]
    for works, code in ends if order == "old first" else reversed(ends):
        farm.finish(works, exit=code, outputs=(made("x", "1" if works is new else "0"),))
        accepted_once(farm)
    with farm.db.read() as tx:
        task = tx.execute(select(t.Task)).one()
        attempts = tx.execute(select(t.Attempt.state).order_by(t.Attempt.ordinal)).scalars().all()
    assert (task.accepted, task.outputs[0]["digest"]) == (2, "1" * 64)
    assert attempts == [AttemptState.CANCELLED, AttemptState.SUCCEEDED]
    assert farm.counts(job) == {"done": 1}


def test_cancel_retry_cancel_retry_counts_right(farm: QueueFarm) -> None:
    job = farm.submit(step(array=Range(first=1, last=6)), step(name="b", after=("main",)))
    ghosts: list[Work] = []
    for _ in range(4):
        ghosts += farm.claim(2)
        drop(farm, str(job))
        counters(farm, job)
        farm.retry(str(job))
        counters(farm, job)
        farm.finish(ghosts)
    farm.run(job)
    assert farm.counts(job) == {"done": 7}
    accepted_once(farm)


def test_cancel_of_a_task_that_is_lost_meanwhile(farm: QueueFarm) -> None:
    job = farm.submit(step())
    works = farm.claim()
    with farm.db.write() as tx:
        settle.lose(tx, "e1", "it vanished", farm.clock.now())
    assert drop(farm, f"{job}.1") == []
    farm.finish(works)
    assert farm.counts(job) == {"cancelled": 1}
    assert [of(w) for w in farm.claim()] == []
