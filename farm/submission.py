"""A job comes in: checked against what the pools can give, enqueued, and handed out in the same transaction."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from farm.model import JobSpec, StepSpec
from farm.queue.progress import Changed
from farm.queue.submit import submit as enqueue
from farm.refusal import Refusal
from farm.workloads.command import check_command

if TYPE_CHECKING:
    from farm.context import Farm

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OWN = frozenset({"FARM_JOB", "FARM_TASK", "FARM_ATTEMPT", "FARM_INDEX", "FARM_SCRATCH"})


def submit(farm: "Farm", spec: JobSpec, also: Callable[[Connection, int], None] = lambda _tx, _job: None) -> int:
    """Enqueue; the job's id. `also` writes more in the same transaction. Raises Refusal when it can't ever run."""
    for step in spec.steps:
        _check_needs(farm, step)
        _check_words(step)
        _check_inputs(farm, step)
        _check_place(step)
    now = farm.clock.now()
    with farm.db.write() as tx:
        job = enqueue(tx, spec, farm.config.all_lanes(), now)
        if farm.sites is not None:
            farm.sites.dispatch(tx, now)
        also(tx, job)
    farm.feed.publish(Changed(jobs={job}))
    farm.wake()
    return job


def _check_needs(farm: "Farm", step: StepSpec) -> None:
    largest = max((pool.largest for pool in farm.config.pools.values()), default=0)
    if step.cpu > largest:
        raise Refusal(
            f"no pool can ever give {step.cpu} cpus at once; the largest executor has {largest}",
            f"step {step.name!r}",
            "ask for less with --needs cpu=N, or configure a larger pool in farm.toml",
        )
    if step.memory and step.memory > memory():
        raise Refusal(
            f"no pool can ever give {step.memory >> 20} MiB; there are {memory() >> 20} MiB",
            f"step {step.name!r}",
            "ask for less with --needs memory=SIZE",
        )


def memory() -> int:
    """Bytes of memory of this machine."""
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
