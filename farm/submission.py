"""A job comes in: checked against what the pools can give, enqueued, and handed out in the same transaction."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from farm.capacity import check_needs, placed
from farm.model import JobSpec, ManyJobs, StepSpec
from farm.queue.many import check_many
from farm.queue.many import submit_many as enqueue_many
from farm.queue.progress import Changed
from farm.queue.submit import submit as enqueue
from farm.refusal import Refusal
from farm.workloads.command import check_command, check_commands

if TYPE_CHECKING:
    from farm.context import Farm

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
OWN = frozenset({"FARM_JOB", "FARM_TASK", "FARM_ATTEMPT", "FARM_INDEX", "FARM_SCRATCH", "FARM_GPUS"})


def submit(farm: "Farm", spec: JobSpec, also: Callable[[Connection, int], None] = lambda _tx, _job: None) -> int:
    """Enqueue; the job's id. `also` writes more in the same transaction. Raises Refusal when it can't ever run."""
    _check_names(spec)
    for step in spec.steps:
        check_needs(farm.config, step)
        _check_words(step)
        _check_inputs(farm, step)
        _check_place(step)
    spec = spec.model_copy(update={"steps": tuple(placed(farm.config, step) for step in spec.steps)})
    now = farm.clock.now()
    with farm.db.write() as tx:
        job = enqueue(tx, spec, farm.config.all_lanes(), now)
        if farm.sites is not None:
            farm.sites.dispatch(tx, now)
        also(tx, job)
    farm.feed.publish(Changed(jobs={job}))
    farm.wake()
    return job


def submit_many(
    farm: "Farm", many: ManyJobs, also: Callable[[Connection, Sequence[int]], None] = lambda _tx, _jobs: None
) -> list[int]:
    """Enqueue a job for each command, all or none; their ids. Nobody waits for them yet. Raises Refusal."""
    job = check_many(many)
    first = job.steps[0]
    _check_names(job)
    check_needs(farm.config, first)
    check_commands(first.argv, many.commands, first.env, first.outputs)
    _check_inputs(farm, first)
    _check_place(first)
    job = job.model_copy(update={"steps": (placed(farm.config, first),)})
    many = many.model_copy(update={"job": job})
    now = farm.clock.now()
    with farm.db.write() as tx:
        jobs = enqueue_many(tx, many, farm.config.all_lanes(), now)
        if farm.sites is not None:
            farm.sites.dispatch(tx, now)
        also(tx, jobs)
    farm.wake()
    return jobs


def _check_names(spec: JobSpec) -> None:
    """They stand in tables, logs and file names: one line each, and nothing that moves the cursor or turns the text."""
    steps = [("a step's name", step.name) for step in spec.steps]
    items = [("an item's name", item.name) for step in spec.steps for item in step.items]
    own = [("--name", spec.name), ("the owner", spec.owner), ("--project", spec.project), ("--lane", spec.lane)]
    for where, name in (*own, *steps, *items):
        if found := _UNSEEN.search(name):
            remedy = "choose one of plain letters, such as --name render"
            raise Refusal(f"{name!r} holds the control character {found[0]!r}", where, remedy)


def _check_words(step: StepSpec) -> None:
    commands = [(item.argv, {**step.env, **item.env}) for item in step.items] or [(step.argv, {**step.env})]
    for argv, env in commands:
        try:
            check_command(argv, env, step.outputs)
        except Refusal as refusal:
            place = f"step {step.name!r}: {refusal.where}" if refusal.where else f"step {step.name!r}"
            raise Refusal(refusal.what, place, refusal.remedy) from refusal


def _check_place(step: StepSpec) -> None:
    """Where it runs and what it is told are its own business, as far as they are possible."""
    if ".." in step.cwd.split("/") or "\0" in step.cwd:
        raise Refusal(f"{step.cwd!r} leaves the working folder", "--cwd", "name a folder below it, or an absolute one")
    if step.gather.startswith("/") or ".." in step.gather.split("/") or "\0" in step.gather:
        raise Refusal(f"{step.gather!r} leaves the working folder", f"step {step.name!r}", "name a folder below it")
    for name in {name for env in (step.env, *(item.env for item in step.items)) for name in env}:
        if not NAME.fullmatch(name):
            raise Refusal(f"{name!r} is no name of a variable", "--env", "write NAME=VALUE")
        if name in OWN:
            raise Refusal(f"{name} is set by the farm", "--env", "choose another name")


def _check_inputs(farm: "Farm", step: StepSpec) -> None:
    for file in (*step.inputs, *(f for item in step.items for f in item.inputs)):
        parts = file.path.split("/")
        if file.path.startswith("/") or ".." in parts or "" in parts or "\0" in file.path:
            raise Refusal(f"the path {file.path!r} leaves the working folder", f"step {step.name!r}")
        if not farm.store.has(file.digest):
            raise Refusal(f"{file.path!r} was never uploaded", f"step {step.name!r}", f"PUT /v1/store/{file.digest}")
