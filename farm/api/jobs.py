"""Jobs and tasks: submit, look, wait, cancel, retry."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from executors.site.protocol import Message
from farm import expected, read
from farm.api.access import Asking, check_kind, check_own, check_secrets, owner
from farm.api.bodies import Checked, Key
from farm.api.farmed import Farmed
from farm.api.polls import Left, poll
from farm.asked import Note, once
from farm.bills import book
from farm.model import BIG, JobSpec, JobState, ManyJobs, Number, TaskState
from farm.queue.cancel import cancel as cancel_in
from farm.queue.retry import retry as retry_in
from farm.reference import parse_reference
from farm.refusal import Refusal
from farm.submission import submit as submit_to
from farm.submission import submit_many as submit_many_to

router = APIRouter(route_class=Checked)
LONGEST_S = 30.0
GROUP_S = 0.15  # changes of a job that come closer together are one answer
ENDED = ("done", "failed", "cancelled")


@router.post("/jobs", status_code=201)
def submit(farm: Farmed, who: Asking, spec: JobSpec, key: Key = "") -> dict[str, Any]:
    check_secrets(farm, who, spec)
    check_kind(who, spec)
    mine = spec.model_copy(update={"owner": owner(who, spec.owner)})

    def act(note: Note) -> dict[str, Any]:
        return {"id": submit_to(farm, mine, lambda tx, job: note(tx, {"id": job}))}

    return once(farm, who.owner, key, mine.model_dump_json() if key else "", act)


@router.post("/jobs/many", status_code=201)
def submit_many(farm: Farmed, who: Asking, many: ManyJobs, key: Key = "") -> dict[str, Any]:
    """A job for each command, all or none."""
    check_secrets(farm, who, many.job)
    check_kind(who, many.job)
    mine = many.model_copy(update={"job": many.job.model_copy(update={"owner": owner(who, many.job.owner)})})

    def act(note: Note) -> dict[str, Any]:
        return {"ids": _ranges(submit_many_to(farm, mine, lambda tx, jobs: note(tx, {"ids": _ranges(jobs)})))}

    return once(farm, who.owner, key, mine.model_dump_json() if key else "", act)


def _ranges(jobs: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of those that follow each other."""
    out: list[tuple[int, int]] = []
    for job in jobs:
        if out and out[-1][1] == job - 1:
            out[-1] = out[-1][0], job
        else:
            out.append((job, job))
    return out


@router.get("/jobs")
def jobs(
    farm: Farmed, state: JobState | Literal[""] = "", owner: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> dict[str, Any]:
    with farm.db.read() as tx:
        return {"jobs": read.jobs(tx, state, owner, limit)}


@router.get("/jobs/{job}")
def job(farm: Farmed, job: Number) -> dict[str, Any]:
    with farm.db.read() as tx:
        return read.job(tx, job) | {"seen": read.job_row(tx, job).changes, "predicted": expected.of_job(tx, job)}


@router.get("/jobs/{job}/tasks")
def tasks(
    farm: Farmed,
    job: Number,
    state: TaskState | Literal[""] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    offset: Annotated[int, Query(ge=0, le=BIG)] = 0,
    every: bool = False,
) -> dict[str, Any]:
    """With `every` also those of arrays that were never handed out, after the others."""
    with farm.db.read() as tx:
        return {"tasks": read.tasks(tx, job, state, limit, offset, every=every)}


@router.get("/jobs/{job}/wait")
async def wait(
    farm: Farmed,
    request: Request,
    job: Number,
    timeout: Annotated[float, Query(ge=0, le=LONGEST_S)] = 20,
    seen: Annotated[int, Query(ge=0, le=BIG)] = 0,
    tasks: bool = True,
) -> dict[str, Any]:
    """As soon as the job changed beyond `seen` (0: at once), or after `timeout` seconds. `finished_tasks` stays empty
    without `tasks`: who only wants numbers spares the farm the list."""
    return await poll(farm, request, lambda left: _wait(farm, job, timeout, seen, tasks, left))


def _wait(farm: Farmed, job: int, timeout: float, seen: int, tasks: bool, left: Left) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with farm.feed.waiter(lambda: found.get("state", "done") in ENDED):
        mark = farm.feed.mark(job)
        found = _look(farm, job, seen, tasks)
        if found["seen"] <= seen and found["state"] not in ENDED:
            if farm.feed.wait(job, mark, timeout, left=left) and not left():
                farm.feed.wait_ended(job, min(timeout, GROUP_S))  # short tasks end by the thousand
            found = _look(farm, job, seen, tasks)
        if found["state"] in ENDED and found["kind"] == "packages":
            farm.published(10)
        if found["state"] in ENDED:
            found["cost"] = _booked(farm, job)
        return found


def _booked(farm: Farmed, job: int) -> Any:
    """What it has cost, the last seconds included: nobody asks again once it has ended."""
    if farm.leader is not None and (said := farm.leader.ended(job)) is not None:
        return said["cost"]
    with farm.db.write() as tx:
        book(farm, tx, farm.clock.now())
        return read.job(tx, job)["cost"]


def _look(farm: Farmed, job: Number, seen: int, tasks: bool) -> dict[str, Any]:
    with farm.db.read() as tx:
        ended, upto = read.finished_since(tx, job, seen) if tasks else ([], read.job_row(tx, job).changes)
        return read.job(tx, job) | {"seen": upto, "finished_tasks": ended}


@router.post("/jobs/{ref}/cancel")
def cancel(farm: Farmed, who: Asking, ref: str) -> dict[str, int]:
    about = parse_reference(ref)
    if about.ordinal is not None:
        raise Refusal(f"{ref} is an attempt", remedy=f"cancel its task: `farm cancel {about.job}.{about.number}`")
    with farm.db.write() as tx:
        check_own(tx, who, about.job)
        cancelled = cancel_in(tx, about, farm.clock.now())
    if farm.sites is not None and cancelled.attempts:
        attempts = tuple(attempt for _, attempt in cancelled.attempts)
        farm.sites.tell(Message(0, "cancel", attempts=attempts, grace_s=2))
    farm.feed.publish(cancelled.changed)
    farm.wake()
    return {"changed": cancelled.tasks}


@router.post("/jobs/{ref}/retry")
def retry(farm: Farmed, who: Asking, ref: str) -> dict[str, int]:
    about = parse_reference(ref)
    if about.ordinal is not None:
        raise Refusal(f"{ref} is an attempt", remedy=f"retry its task: `farm retry {about.job}.{about.number}`")
    with farm.db.write() as tx:
        check_own(tx, who, about.job)
        again, changed = retry_in(tx, about)
        if farm.sites is not None:
            farm.sites.dispatch(tx, farm.clock.now())
    farm.feed.publish(changed)
    farm.wake()
    return {"changed": again}


@router.get("/tasks/{ref}")
def task(farm: Farmed, ref: str) -> dict[str, Any]:
    about = parse_reference(ref)
    if about.number is None:
        raise Refusal(f"{ref} is a job", remedy=f"name a task, such as {ref}.1")
    with farm.db.read() as tx:
        return read.task(tx, about) | {"predicted": expected.of_task(tx, about)}
