"""Why a job or a task is as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy import text as sql

from farm import expected, read
from farm import tables as t
from farm.model import AttemptState, JobState, TaskState
from farm.reference import Reference
from farm.tables import AnyRow
from farm.why.answer import Why, at, many
from farm.why.cause import Cause
from farm.why.ending import ending, everywhere, limits
from farm.why.holding import held_job
from farm.why.look import Look
from farm.why.waiting import waiting

_STEPS = select(t.Step).where(t.Step.job == bindparam("j")).order_by(t.Step.ordinal)
_OPEN_BEFORE = (
    select(t.Job.id, t.Job.state)
    .join(t.JobEdge, t.JobEdge.before == t.Job.id)
    .where(t.JobEdge.job == bindparam("j"), t.Job.state != JobState.DONE)
    .order_by(t.Job.id)
)
_TASKS_BEFORE = (
    select(t.Task.number, t.Task.name, t.Task.state)
    .join(t.TaskEdge, and_(t.TaskEdge.job == t.Task.job, t.TaskEdge.before == t.Task.number))
    .where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.number == bindparam("n"))
    .where(t.Task.state.not_in([TaskState.DONE, TaskState.SKIPPED]))
    .order_by(t.Task.number)
)
_TASK = select(t.Task).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_NOW = select(t.Attempt).where(
    t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.finished.is_(None)
)
_FIRST_FAILED = (
    select(t.Task)
    .where(t.Task.job == bindparam("j"), sql(t.TASK_BAD), t.Task.state == TaskState.FAILED)
    .order_by(t.Task.number)
    .limit(1)
)


def job(look: Look, number: int) -> Why:
    row = read.job_row(look.tx, number)
    about, ends = f"job {number}", _ends(row)
    if row.state == JobState.DONE:
        return Why(about, row.state, Cause.DONE, "all tasks succeeded", f"Job {number} is done.", numbers=ends)
    if row.state == JobState.FAILED:
        return _failed_job(look, row)
    if row.state == JobState.CANCELLED:
        return _cancelled_job(row)
    if row.state == JobState.HELD:
        return held_job(look, about, row.state, row)
    if row.running:
        sentence = f"Job {number} runs: {many(row.running, 'task')} now, {row.done} of {row.total} done."
        return Why(about, row.state, Cause.RUNNING, "some of its tasks run", sentence, "its tasks end", ends)
    return _waiting_job(look, row)


def _failed_job(look: Look, row: AnyRow) -> Why:
    """By the first of its tasks that failed."""
    found = look.tx.execute(_FIRST_FAILED, {"j": row.id}).one()
    first = _failed_task(look, Reference(row.id, found.number), found)
    sentence = f"Job {row.id} failed: {row.failed} of {many(row.total, 'task')}. {first.sentence}"
    return Why(f"job {row.id}", row.state, first.cause, first.rule, sentence, f"farm retry {row.id}", _ends(row))


def _cancelled_job(row: AnyRow) -> Why:
    why = row.why or "a task of it was cancelled by its user"
    cause = Cause.AFTER_FAILED if "which it comes after" in why else Cause.CANCELLED
    sentence = f"Job {row.id} was cancelled: {why}."
    return Why(f"job {row.id}", row.state, cause, why, sentence, f"farm retry {row.id}", _ends(row))


def _waiting_job(look: Look, row: AnyRow) -> Why:
    about = f"job {row.id}"
    before = look.tx.execute(_OPEN_BEFORE, {"j": row.id}).all()
    if before:
        names = ", ".join(f"{b.id} ({b.state})" for b in before)
        rule, numbers = "--after means after its success", {"waits_for": [b.id for b in before]}
        sentence = f"Job {row.id} comes after job {names}."
        return Why(about, row.state, Cause.AFTER, rule, sentence, f"job {before[0].id} ends", numbers)
    ready = next(s for s in look.tx.execute(_STEPS, {"j": row.id}) if s.state == "ready")
    return waiting(look, about, row.state, ready)


def task(look: Look, ref: Reference) -> Why:
    """Raises NotFound."""
    found = read.task(look.tx, Reference(ref.job, ref.number))
    about, state = f"task {found['ref']}", found["state"]
    row = look.tx.execute(_TASK, {"j": ref.job, "n": ref.number}).one_or_none()
    if row is not None and state == TaskState.RUNNING:
        return _running(look, row)
    if row is not None and state == TaskState.FAILED:
        return _failed_task(look, ref, row)
    if state in (TaskState.DONE, TaskState.CANCELLED, TaskState.SKIPPED):
        return _over(look, found)
    if state == TaskState.BLOCKED:
        return _blocked(look, ref, found)
    job_row = read.job_row(look.tx, ref.job)
    if job_row.state == JobState.HELD:
        return held_job(look, about, state, job_row)
    step = next(s for s in look.tx.execute(_STEPS, {"j": ref.job}) if s.name == found["step"])
    return waiting(look, about, state, step, ref.number)


def _running(look: Look, row: AnyRow) -> Why:
    now = look.tx.execute(_NOW, {"j": row.job, "n": row.number}).one()
    about, numbers = f"task {row.job}.{row.number}", _tries(row) | {"attempt": f"{row.job}.{row.number}.{now.ordinal}"}
    if now.state == AttemptState.CLAIMED:
        sentence = f"Task {row.job}.{row.number} was handed to {row.executor}, which has not said that it began."
        rule = "an executor has a few short tasks waiting, so that its slots are never idle"
        return Why(about, row.state, Cause.HANDED_OUT, rule, sentence, "it begins there", numbers)
    sentence = f"Task {row.job}.{row.number} runs on {row.executor} since {at(now.started)}."
    numbers |= {"started": read.when(now.started)} | expected.numbers(look.tx, row.job, "", row.number)
    return Why(about, row.state, Cause.RUNNING, "it has a slot", sentence, "it ends", numbers)


def _failed_task(look: Look, ref: Reference, row: AnyRow) -> Why:
    name = f"{ref.job}.{row.number}"
    step = next(s for s in look.tx.execute(_STEPS, {"j": ref.job}) if s.ordinal == row.step)
    cause, reason = ending(row, step)
    cause = Cause.EVERYWHERE if everywhere(row, step) else cause
    numbers = _tries(row) | {"retries": step.retries} | limits(row, step)
    sentence = f"Task {name} failed: {reason}."
    return Why(f"task {name}", row.state, cause, reason, sentence, f"farm retry {name}", numbers)


def _over(look: Look, found: Mapping[str, Any]) -> Why:
    state, ref = found["state"], found["ref"]
    cause, reason = {
        TaskState.DONE: (Cause.DONE, "it succeeded"),
        TaskState.CANCELLED: (Cause.CANCELLED, "it was cancelled"),
        TaskState.SKIPPED: (Cause.NEEDS_FAILED, "something it needs did not succeed"),
    }[state]
    if found["cause"] == "unchanged":
        cause, reason = Cause.UNCHANGED, "nothing it is built from changed"
    if state == TaskState.CANCELLED:
        why = read.job_row(look.tx, int(ref.split(".")[0])).why
        cause, reason = (Cause.AFTER_FAILED, why) if "which it comes after" in why else (cause, reason)
    retry = "" if state == TaskState.DONE or cause == Cause.UNCHANGED else f"farm retry {ref.split('.')[0]}"
    return Why(f"task {ref}", state, cause, reason, f"Task {ref} is {state}: {reason}.", retry)


def _blocked(look: Look, ref: Reference, found: Mapping[str, Any]) -> Why:
    before = look.tx.execute(_TASKS_BEFORE, {"j": ref.job, "n": ref.number}).all()
    if before:
        names = ", ".join(f"{ref.job}.{b.number} {b.name} ({b.state})" for b in before[:5])
        rule, cause, waits = "a task starts after the tasks it needs", Cause.NEEDS, [b.number for b in before[:5]]
        numbers: dict[str, Any] = {"waits_for": [f"{ref.job}.{n}" for n in waits], "count": len(before)}
    else:
        rule, cause = "a step starts after the steps and jobs it comes after", Cause.AFTER
        names, numbers = _steps_before(look, ref.job, found["step"])
    sentence = f"Task {found['ref']} waits for {names}."
    return Why(f"task {found['ref']}", found["state"], cause, rule, sentence, "they succeed", numbers)


def _steps_before(look: Look, number: int, name: str) -> tuple[str, dict[str, Any]]:
    steps: Sequence[AnyRow] = look.tx.execute(_STEPS, {"j": number}).all()
    after = next(s for s in steps if s.name == name).template.get("after", ())
    found = [f"step {s.name}" for s in steps if s.state != "ended" and s.name in after]
    found += [f"job {b.id} ({b.state})" for b in look.tx.execute(_OPEN_BEFORE, {"j": number})]
    return ", ".join(found), {"waits_for": found}


def _ends(row: AnyRow) -> dict[str, Any]:
    return {k: getattr(row, k) for k in ("total", "done", "running", "failed", "cancelled", "skipped")}


def _tries(row: AnyRow) -> dict[str, Any]:
    counts = {k: getattr(row, k) for k in ("attempts", "failures", "losses", "licences")}
    return counts | {"failed_on": list(row.failed_on or ())}
