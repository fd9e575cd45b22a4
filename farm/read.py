"""What the queue and the books look like to people: rows as plain dicts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy import text as sql

from farm import ledger
from farm import tables as t
from farm.counted import counts
from farm.model import TaskState
from farm.queue import running, template
from farm.reference import Reference
from farm.refusal import NotFound
from farm.tables import AnyRow

MOST = 20_000  # tasks in one answer; more than one report of a gateway can end at once

_JOB = select(t.Job).where(t.Job.id == bindparam("j"))
_AFTER = (
    select(t.JobEdge.job, t.JobEdge.before)
    .where(t.JobEdge.job.in_(bindparam("jobs", expanding=True)))
    .order_by(t.JobEdge.before)
)
_TASK = select(t.Task).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_STEPS = select(t.Step).where(t.Step.job == bindparam("j")).order_by(t.Step.ordinal)
_ATTEMPTS = (
    select(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"))
    .order_by(t.Attempt.ordinal)
)
_REFUSED = select(t.Refused).where(t.Refused.attempt == bindparam("a")).order_by(t.Refused.id)
_TASKS = select(t.Task).where(t.Task.job == bindparam("j")).order_by(t.Task.number)
_BEGUN = select(func.count()).where(
    t.Task.job == bindparam("j"), t.Task.number >= bindparam("low"), t.Task.number < bindparam("high")
)
_POSITIONS = select(t.Task.position).where(t.Task.job == bindparam("j"), t.Task.step == bindparam("o"))
_FINISHED_SINCE = (
    select(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.changed > bindparam("c"), t.Task.finished.is_not(None))
    .order_by(t.Task.changed, t.Task.number)
    .limit(MOST + 1)
)
_FINISHED_AT = (
    select(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.changed == bindparam("c"), t.Task.finished.is_not(None))
    .order_by(t.Task.number)
)


_WAIT = (sql(t.TASK_OPEN), t.Task.state == bindparam("s"))
_BAD = (sql(t.TASK_BAD), t.Task.state == bindparam("s"))
_RUN = (t.Task.number.in_(running.NUMBERS), t.Task.state == TaskState.RUNNING)
_WHERE: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys((TaskState.BLOCKED, TaskState.READY), _WAIT),
    **dict.fromkeys((TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED), _BAD),
    TaskState.RUNNING: _RUN,
    TaskState.DONE: (t.Task.state == TaskState.DONE,),
}
_IN = {str(state): _TASKS.where(*where) for state, where in _WHERE.items()}
_SORTED = {state: _IN[state].order_by(None).order_by(t.Task.number + 0) for state in ("blocked", "ready")}
"""By the index of what is open, and put in order then: better where most tasks have ended."""
_MANY = {
    str(state): select(func.count()).where(t.Task.job == bindparam("j"), *where) for state, where in _WHERE.items()
}


def when(at: datetime | None) -> str | None:
    return at.isoformat(timespec="microseconds") if at else None


def money(nano: int) -> str:
    return f"{Decimal(nano) / ledger.NANO:.4f}"


def job_row(tx: Connection, job: int) -> AnyRow:
    """Raises NotFound."""
    row = tx.execute(_JOB, {"j": job}).one_or_none()
    if row is None:
        raise NotFound(f"there is no job {job}", remedy="see `farm jobs`")
    return row


def jobs(tx: Connection, state: str, owner: str, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    query = select(t.Job).order_by(t.Job.id.desc()).limit(limit)
    if state:
        query = query.where(t.Job.state == state)
    if owner:
        query = query.where(t.Job.owner == owner)
    return _jobs(tx, tx.execute(query).all())


def job(tx: Connection, number: int) -> dict[str, Any]:
    return _jobs(tx, [job_row(tx, number)])[0]


def _jobs(tx: Connection, rows: Sequence[AnyRow]) -> list[dict[str, Any]]:
    """The same few questions for one job as for a thousand."""
    ids = [row.id for row in rows]
    if not ids:
        return []
    costs, tasks = ledger.job_costs(tx, ids), counts(tx, rows)
    after: dict[int, list[int]] = {job: [] for job in ids}
    for edge in tx.execute(_AFTER, {"jobs": ids}):
        after[edge.job].append(edge.before)
    return [_job(row, costs.get(row.id, 0), tasks[row.id], after[row.id]) for row in rows]


def _job(row: AnyRow, cost: int, tasks: Mapping[str, int], after: Sequence[int]) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "owner": row.owner,
        "project": row.project,
        "lane": row.lane,
        "priority": row.priority,
        "deadline": when(row.deadline),
        "state": row.state,
        "submitted": when(row.submitted),
        "started": when(row.started),
        "finished": when(row.finished),
        "tasks": tasks,
        "cost": money(cost),
        "why": row.why,
        "extra": row.extra,
        "after": after,
    }


def tasks(
    tx: Connection, number: int, state: str, limit: int, offset: int, *, every: bool = False
) -> list[dict[str, Any]]:
    """Those that have rows, in order; then, with `every`, those of arrays that were never handed out."""
    row = job_row(tx, number)
    steps = _steps(tx, number)
    query = _SORTED[state] if state in _SORTED and _most_ended(row, steps.values()) else _IN.get(state, _TASKS)
    some = not state or getattr(row, state, None) != 0
    tasks = tx.execute(query.limit(limit).offset(offset), {"j": number, "s": state}).all() if some else ()
    found = [_task(task, steps[task.step]) for task in tasks]
    if not every or len(found) == limit:
        return found
    made = {ordinal: _begun(tx, step) for ordinal, step in steps.items()}
    there = _rows(tx, row, state) if state else sum(made.values())
    past = max(0, offset - there)
    rest = islice(_never_begun(tx, steps.values(), made, state), past, past + limit - len(found))
    return found + [_listed(step, position) for step, position in rest]


def _most_ended(row: AnyRow, steps: Iterable[AnyRow]) -> bool:
    """Whether most of the tasks that have rows wait no longer."""
    rows = sum(step.next + step.early if step.next < step.total else step.total for step in steps)
    return bool(2 * (row.running + row.done + row.failed + row.cancelled + row.skipped) > rows)


def _begun(tx: Connection, step: AnyRow) -> int:
    """How many of a step's tasks have rows. Where all are handed out, some may have been given up before they had."""
    if step.next < step.total:
        return int(step.next + step.early)
    high = step.first_number + step.total
    return int(tx.execute(_BEGUN, {"j": step.job, "low": step.first_number, "high": high}).scalar_one())


def _rows(tx: Connection, row: AnyRow, state: str) -> int:
    """How many of a job's tasks in this state have rows."""
    if state in (TaskState.RUNNING, TaskState.DONE, TaskState.FAILED):
        return int(getattr(row, state))
    return int(tx.execute(_MANY[state], {"j": row.id, "s": state}).scalar_one())


def _never_begun(
    tx: Connection, steps: Iterable[AnyRow], made: Mapping[int, int], state: str
) -> Iterator[tuple[AnyRow, int]]:
    """Most arrays are handed out from the front, so that what is left is the end of them."""
    for step in steps:
        if state in ("", _unbegun(step)) and made[step.ordinal] < step.total:
            straight = step.order != "ends-first" and not step.early
            there = () if straight else set(tx.execute(_POSITIONS, {"j": step.job, "o": step.ordinal}).scalars())
            begin = made[step.ordinal] if straight else 0
            yield from ((step, position) for position in range(begin, step.total) if position not in there)


def _listed(step: AnyRow, position: int) -> dict[str, Any]:
    return _not_yet(Reference(step.job, step.first_number + position), step, position) | {"attempts": 0}


def finished_since(tx: Connection, number: int, seen: int) -> tuple[list[dict[str, Any]], int]:
    """Tasks that ended after change `seen`, and the change up to which these are all."""
    upto = job_row(tx, number).changes
    steps = _steps(tx, number)
    rows = tx.execute(_FINISHED_SINCE, {"j": number, "c": seen}).all()
    if len(rows) > MOST:
        first, upto = rows[0].changed, rows[-1].changed - 1
        rows = [row for row in rows if row.changed <= upto]
        if not rows:  # all by one change, as what comes after one that failed: it is told as a whole
            rows, upto = tx.execute(_FINISHED_AT, {"j": number, "c": first}).all(), first
    return [_task(row, steps[row.step]) for row in rows], int(upto)


def _steps(tx: Connection, number: int) -> dict[int, AnyRow]:
    return {row.ordinal: row for row in tx.execute(_STEPS, {"j": number})}


def task(tx: Connection, ref: Reference) -> dict[str, Any]:
    """One task with its attempts; one of an array that has not been handed out yet too. Raises NotFound."""
    job_row(tx, ref.job)
    steps = _steps(tx, ref.job)
    row = tx.execute(_TASK, {"j": ref.job, "n": ref.number}).one_or_none()
    if row is None:
        return _untouched(steps.values(), ref)
    attempts = tx.execute(_ATTEMPTS, {"j": ref.job, "n": ref.number}).all()
    if ref.ordinal is not None:
        attempts = [a for a in attempts if a.ordinal == ref.ordinal]
        if not attempts:
            raise NotFound(f"task {ref.job}.{ref.number} has no attempt {ref.ordinal}", remedy=_see(ref))
    return _task(row, steps[row.step]) | {"attempts": [_attempt(tx, a, row) for a in attempts]}


def _see(ref: Reference) -> str:
    return f"see `farm show {ref.job}.{ref.number}`"


def refused(tx: Connection, attempt: str) -> list[dict[str, Any]]:
    """Results of an attempt that came too late or with a wrong token: kept, never used."""
    return [
        {
            "at": when(row.at),
            "executor": row.executor,
            "token": row.event.get("token"),
            "exit": row.event.get("exit"),
            "cause": row.event.get("cause", ""),
            "outputs": len(row.event.get("outputs") or ()),
        }
        for row in tx.execute(_REFUSED, {"a": attempt})
    ]


def _task(row: AnyRow, step: AnyRow) -> dict[str, Any]:
    return {
        "ref": f"{row.job}.{row.number}",
        "step": step.name,
        "name": row.name,
        "index": template.index(step, row.position),
        "state": row.state,
        "exit": row.exit,
        "cause": row.cause,
        "message": row.message,
        "executor": row.executor,
        "started": when(row.started),
        "finished": when(row.finished),
        "attempts": row.attempts,
        "accepted": row.accepted,
        "cpu_s": row.cpu_ms / 1000,
        "rss_mib": round(row.rss_kib / 1024, 1),
        "outputs": row.outputs or [],
    }


def _attempt(tx: Connection, row: AnyRow, task: AnyRow) -> dict[str, Any]:
    ref = f"{row.job}.{row.number}.{row.ordinal}"
    return {
        "ref": ref,
        "state": row.state,
        "executor": row.executor,
        "claimed": when(row.claimed),
        "started": when(row.started),
        "finished": when(row.finished),
        "exit": row.exit,
        "cause": row.cause,
        "message": row.message,
        "cpu_s": row.cpu_ms / 1000,
        "rss_mib": round(row.rss_kib / 1024, 1),
        "accepted": task.accepted == row.ordinal,
        "refused": refused(tx, ref),
    }


def _untouched(steps: Iterable[AnyRow], ref: Reference) -> dict[str, Any]:
    for step in steps:
        position = (ref.number or 0) - step.first_number
        if 0 <= position < step.total:
            return _not_yet(ref, step, position)
    raise NotFound(f"job {ref.job} has no task {ref.number}", remedy=f"see `farm show {ref.job}`")


def _unbegun(step: AnyRow) -> TaskState:
    """Of tasks of an array without rows: cancelling hands out all that is left, skipping leaves it where it was."""
    if step.next == step.total:
        return TaskState.CANCELLED
    if step.state == "ended":
        return TaskState.SKIPPED
    return TaskState.READY if step.state == "ready" else TaskState.BLOCKED


_WHY_UNBEGUN = {TaskState.CANCELLED: "cancelled", TaskState.SKIPPED: "needs"}


def _not_yet(ref: Reference, step: AnyRow, position: int) -> dict[str, Any]:
    state = _unbegun(step)
    nothing: Mapping[str, Any] = {"exit": None, "executor": None, "started": None, "finished": None, "accepted": None}
    return {
        "ref": f"{ref.job}.{ref.number}",
        "step": step.name,
        "name": template.name(step, position),
        "index": template.index(step, position),
        "state": state,
        "cause": _WHY_UNBEGUN.get(state, ""),
        "message": "",
        "cpu_s": 0.0,
        "rss_mib": 0.0,
        "outputs": [],
        "attempts": [],
        **nothing,
    }
