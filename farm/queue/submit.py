"""A new job: rows for its steps; rows for its tasks only where they have something of their own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, insert, select

from farm import bulk
from farm import tables as t
from farm.acts import By, record
from farm.model import Item, JobSpec, JobState, StepSpec, TaskState
from farm.queue import campaign, predict, start_after
from farm.queue.needs import text_of
from farm.queue.progress import skip_unchanged
from farm.refusal import Refusal
from farm.wording import nearest
from schedules.model import Lane
from schedules.ordering import due

MOST_TASKS = 1_000_000  # of one job: a typo must not fill the queue
TOGETHER = 2000  # rows of one statement
LONGEST = 10  # names of a cycle that are told

Row = TypeVar("Row")
_INSERT_JOB = insert(t.Job).returning(t.Job.id)
_INSERT_JOB_EDGE = insert(t.JobEdge)
_INSERT_STEP = insert(t.Step)
_INSERT_TASK = insert(t.Task)
_INSERT_EDGE = insert(t.TaskEdge)
_STATE = select(t.Job.state, t.Job.id).where(t.Job.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step stands in its job."""

    job: int
    ordinal: int
    first_number: int


def submit(tx: Connection, spec: JobSpec, lanes: Mapping[str, Lane], now: datetime) -> int:
    """Enqueue a job; its id. Raises Refusal when it can't ever run as written."""
    lane = _lane(spec, lanes)
    _check_names(spec)
    open_jobs = _open_jobs(tx, spec.after)
    later = spec.start_after if spec.start_after and spec.start_after > now and not spec.held else None
    spec = spec.model_copy(update={"held": True}) if later else spec
    job = _insert_job(tx, spec, now)
    if later:
        start_after.keep(tx, job, spec.owner, later, now)
    elif spec.held:
        record(tx, By(spec.owner, "submitted so", now), "hold", "job", str(job))
    if spec.after:
        tx.execute(_INSERT_JOB_EDGE, [{"job": job, "before": b} for b in dict.fromkeys(spec.after)])
    number = 1
    for ordinal, step in enumerate(spec.steps):
        _insert_step(tx, _Place(job, ordinal, number), step, spec, lane, open_jobs, now)
        number += count(step)
    if any(not item.changed for step in spec.steps for item in step.items):
        skip_unchanged(tx, job, now)
    return job


def count(step: StepSpec) -> int:
    """How many tasks a step has."""
    if step.items:
        return len(step.items)
    return -(-len(step.array) // step.chunk) if step.array else 1


def _lane(spec: JobSpec, lanes: Mapping[str, Lane]) -> Lane:
    if spec.lane not in lanes:
        raise Refusal(f"there is no lane {spec.lane!r}", "--lane", nearest(spec.lane, lanes))
    return lanes[spec.lane]


def _check_names(spec: JobSpec) -> None:
    if (tasks := sum(count(step) for step in spec.steps)) > MOST_TASKS:
        raise Refusal(f"{tasks} tasks are too many for one job; {MOST_TASKS} may be", "--array", "submit it in parts")
    seen: set[str] = set()
    for step in spec.steps:
        if step.name in seen:
            raise Refusal(f"two steps are named {step.name!r}", "steps", "give each step its own name")
        if unknown := [a for a in step.after if a not in seen]:
            raise Refusal(f"step {step.name!r} comes after {unknown[0]!r}, which is no earlier step", "steps")
        seen.add(step.name)
        _check_step(step)


def _check_step(step: StepSpec) -> None:
    if step.array is not None and not len(step.array):
        raise Refusal("the array is empty", f"step {step.name!r}", "write --array FIRST-LAST with FIRST ≤ LAST")
    if step.items and step.array:
        raise Refusal("a step has items or an array, not both", f"step {step.name!r}")
    if not step.items and not step.argv:
        raise Refusal("there is no command", f"step {step.name!r}", "write it behind --")
    if step.items:
        levels(step.items)


def levels(items: Sequence[Item]) -> list[list[str]]:
    """Items by level of dependency. Raises Refusal for a name twice, an unknown name, or a cycle (named)."""
    waits = {item.name: set(item.after) for item in items}
    if len(waits) != len(items):
        raise Refusal("two items have the same name", "items")
    for name, before in waits.items():
        if missing := sorted(each for each in before if each not in waits):
            raise Refusal(f"{name!r} comes after {missing[0]!r}, which is not in the list", "items")
    out = _sorted_out(waits)
    free = {name for level in out for name in level}
    if len(free) < len(waits):
        raise Refusal(f"the dependencies form a cycle: {_cycle(waits, free)}", "items", "break one of these edges")
    return out


def _sorted_out(waits: Mapping[str, set[str]]) -> list[list[str]]:
    """Level by level; what a cycle holds up is in none. A long chain takes no longer than a broad one."""
    followers: dict[str, list[str]] = {}
    for name, before in waits.items():
        for each in before:
            followers.setdefault(each, []).append(name)
    left = {name: len(before) for name, before in waits.items()}
    out, free = [], sorted(name for name, n in left.items() if not n)
    while free:
        out.append(free)
        freed = [after for name in free for after in followers.get(name, ())]
        for after in freed:
            left[after] -= 1
        free = sorted({after for after in freed if not left[after]})
    return out


def _cycle(waits: Mapping[str, set[str]], free: Collection[str]) -> str:
    """The first one from the first name on; of a long one both ends."""
    at = min(name for name in waits if name not in free)
    place: dict[str, int] = {}
    while at not in place:
        place[at] = len(place)
        at = min(before for before in waits[at] if before not in free)
    names = [*list(place)[place[at] :], at]
    return " → ".join(names if len(names) <= LONGEST else [*names[:LONGEST], f"… ({len(names) - 1} in all)", at])


def _open_jobs(tx: Connection, after: Sequence[int]) -> int:
    """How many of the jobs this one comes after have not succeeded yet."""
    waits = 0
    for job in dict.fromkeys(after):
        state = tx.execute(_STATE, {"id": job}).scalar_one_or_none()
        if state is None:
            raise Refusal(f"there is no job {job}", "--after", "see `farm jobs`")
        if state in (JobState.FAILED, JobState.CANCELLED):
            raise Refusal(f"job {job} is {state}", "--after", f"type `farm retry {job}` first")
        waits += state != JobState.DONE
    return waits


def _insert_job(tx: Connection, spec: JobSpec, now: datetime) -> int:
    row = {
        "kind": spec.kind,
        "name": spec.name,
        "owner": spec.owner,
        "project": spec.project,
        "lane": spec.lane,
        "priority": spec.priority,
        "state": JobState.HELD if spec.held else JobState.QUEUED,
        "extra": dict(spec.extra),
        "submitted": now,
        "total": sum(count(step) for step in spec.steps),
    }
    return tx.execute(_INSERT_JOB, row).scalar_one()


def _insert_step(
    tx: Connection, place: _Place, step: StepSpec, spec: JobSpec, lane: Lane, open_jobs: int, now: datetime
) -> None:
    plan = campaign.plan(tx, spec.kind, spec.name, step)
    predicted = plan.mean if step.items else _predicted(tx, spec, step)
    waits = open_jobs + len(set(step.after))
    row = {
        "job": place.job,
        "ordinal": place.ordinal,
        "lane": spec.lane,
        "owner": spec.owner,
        "name": step.name,
        "state": "blocked" if waits else "ready",
        "held": int(spec.held),
        "waits": waits,
        "left": count(step),
        "first_number": place.first_number,
        "total": count(step),
        "next": count(step) if step.items else 0,
        "array": step.array.model_dump() if step.array else None,
        "chunk": step.chunk,
        "order": step.order,
        "template": _template(step),
        "slots": step.cpu,
        "needs": text_of(step),
        "memory": step.memory,
        "retries": step.retries,
        "licences": dict(step.licences) or None,
        "licence_exit": step.licence_exit,
        "licence_wait_s": step.licence_wait_s,
        "timeout_s": step.timeout_s,
        "predicted_s": predicted,
        "due": due(now, timedelta(seconds=predicted), lane, spec.priority),
    }
    tx.execute(_INSERT_STEP, row)
    if step.items:
        own = {key: row[key] for key in ("lane", "owner", "slots", "needs", "due", "held")}
        _insert_items(tx, place, step, plan, blocked=waits > 0, own=own)


def _predicted(tx: Connection, spec: JobSpec, step: StepSpec) -> float:
    if step.predicted_s:
        return predict.sane(step.predicted_s)
    return predict.seconds(tx, predict.what(spec.kind, spec.name, step.name))


_TEMPLATE = {"argv", "env", "secrets", "cwd", "inputs", "outputs", "gather", "after"}
_TEMPLATE |= {"silence_s", "output_bytes", "processes"}


def _template(step: StepSpec) -> dict[str, Any]:
    dumped = step.model_dump(include=_TEMPLATE, mode="json")
    return {key: value for key, value in dumped.items() if value}


def _insert_items(
    tx: Connection, place: _Place, step: StepSpec, plan: campaign.Plan, *, blocked: bool, own: Mapping[str, Any]
) -> None:
    number = {item.name: place.first_number + i for i, item in enumerate(step.items)}
    made = ({**own, **_item_row(place, i, item, blocked)} for i, item in enumerate(step.items))
    rows = ({**row, **plan.row(row["name"], row["due"])} for row in made)
    for part in _parts(rows):
        bulk.execute(tx, _INSERT_TASK, part)
    edges = (
        (place.job, number[item.name], number[before]) for item in step.items for before in dict.fromkeys(item.after)
    )
    for pairs in _parts(edges):
        bulk.tuples(tx, _INSERT_EDGE, ("job", "number", "before"), pairs)


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """All rows of a large graph at once would be most of the service's memory."""
    while part := list(islice(rows, TOGETHER)):
        yield part


def _item_row(place: _Place, position: int, item: Item, blocked: bool) -> dict[str, Any]:
    return {
        "job": place.job,
        "number": place.first_number + position,
        "step": place.ordinal,
        "position": position,
        "name": item.name,
        "state": TaskState.BLOCKED if blocked or item.after else TaskState.READY,
        "waits": len(set(item.after)),
        "params": item.model_dump(mode="json", exclude_defaults=True),
    }
