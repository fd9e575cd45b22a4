"""Why an attempt is as it is: which limit ended it, and what came too late from it."""

from typing import Any

from sqlalchemy import bindparam, select

from farm import read
from farm import tables as t
from farm.model import AttemptState
from farm.reference import Reference
from farm.refusal import NotFound
from farm.tables import AnyRow
from farm.why.answer import Why, at
from farm.why.cause import Cause
from farm.why.ending import ending, limits
from farm.why.look import Look

_ATTEMPT = select(t.Attempt).where(
    t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o")
)
_TASK = select(t.Task).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_STEP = select(t.Step).where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))


def attempt(look: Look, ref: Reference) -> Why:
    """Raises NotFound."""
    row = look.tx.execute(_ATTEMPT, {"j": ref.job, "n": ref.number, "o": ref.ordinal}).one_or_none()
    if row is None:
        read.task(look.tx, Reference(ref.job, ref.number))
        raise NotFound(
            f"task {ref.job}.{ref.number} has no attempt {ref.ordinal}",
            remedy=f"see `farm show {ref.job}.{ref.number}`",
        )
    task = look.tx.execute(_TASK, {"j": ref.job, "n": ref.number}).one()
    numbers: dict[str, Any] = {"executor": row.executor, "started": read.when(row.started)}
    if late := read.refused(look.tx, str(ref)):
        numbers["refused"] = [f"{r['at']} from {r['executor']}: exit {r['exit']} {r['cause']}".strip() for r in late]
    return _alive(ref, row, numbers) if row.finished is None else _ended(look, ref, row, task, numbers)


def _alive(ref: Reference, row: AnyRow, numbers: dict[str, Any]) -> Why:
    about = f"attempt {ref}"
    if row.state == AttemptState.CLAIMED:
        sentence = f"Attempt {ref} was handed to {row.executor} at {at(row.claimed)} and has not begun there."
        rule = "an executor has a few short tasks waiting, so that its slots are never idle"
        return Why(about, row.state, Cause.HANDED_OUT, rule, sentence, "it begins there", numbers)
    sentence = f"Attempt {ref} runs on {row.executor} since {at(row.started)}."
    return Why(about, row.state, Cause.RUNNING, "it has a slot", sentence, "it ends", numbers)


def _ended(look: Look, ref: Reference, row: AnyRow, task: AnyRow, numbers: dict[str, Any]) -> Why:
    about = f"attempt {ref}"
    numbers["finished"] = read.when(row.finished)
    if row.state == AttemptState.SUCCEEDED:
        sentence = f"Attempt {ref} succeeded on {row.executor}; its result is the one that counts."
        return Why(about, row.state, Cause.DONE, "accepted by its token", sentence, numbers=numbers)
    if row.state == AttemptState.CANCELLED:
        sentence = f"Attempt {ref} was cancelled by its user while it ran on {row.executor}."
        return Why(about, row.state, Cause.CANCELLED, "what it still reports is not used", sentence, numbers=numbers)
    step = look.tx.execute(_STEP, {"j": ref.job, "o": task.step}).one()
    cause, reason = ending(row, step)
    sentence = f"Attempt {ref} {row.state if row.state == 'failed' else 'was lost'} on {row.executor}: {reason}."
    return Why(about, row.state, cause, reason, sentence, _after(ref, row, task), numbers | limits(row, step))


def _after(ref: Reference, row: AnyRow, task: AnyRow) -> str:
    if task.attempts > row.ordinal:
        return f"attempt {ref.job}.{ref.number}.{row.ordinal + 1} followed it"
    return f"task {ref.job}.{ref.number} is {task.state}"
