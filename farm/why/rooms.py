"""Slots that are kept for a task that needs several at once."""

from typing import Any

from farm.tables import AnyRow
from farm.why.answer import Why, many
from farm.why.cause import Cause
from farm.why.look import Look
from schedules.model import Executor


def kept_room(look: Look, about: str, state: str, step: AnyRow, numbers: dict[str, Any]) -> Why | None:
    """Of work for which an executor drains, or for which there would be slots if none drained for other work."""
    subject = about[0].upper() + about[1:]
    mine = next((e for e in look.seen.executors if e.kept_for == str(step.job)), None)
    if mine is not None and step.slots > 1:
        return _own(about, state, subject, mine, numbers)
    free = [e for e in look.seen.executors if e.state == "ready" and e.slots - e.busy_slots >= step.slots]
    if not free or numbers["booting"] or not all(e.kept for e in free):
        return None
    first = free[0]
    sentence = (
        f"{subject} waits: {many(_free(first), 'free slot')} of {first.id} "
        f"{'is' if _free(first) == 1 else 'are'} kept for job {first.kept_for}, which needs {first.kept} at once."
    )
    rule = "a task of several slots has an executor kept when it is its turn, so that it is not overtaken for ever"
    return Why(about, state, Cause.KEPT_ROOM, rule, sentence, "that task begins", numbers | _numbers(first))


def words(e: Executor) -> str:
    """Of an executor that drains for a task, what becomes of its free slots."""
    return f"; its free slots are kept for job {e.kept_for}, which needs {e.kept} at once" if e.kept else ""


def _own(about: str, state: str, subject: str, mine: Executor, numbers: dict[str, Any]) -> Why:
    sentence = (
        f"{subject} waits for {mine.kept} slots at once: {mine.id} is kept for it, "
        f"where {_free(mine)} of {mine.slots} are free."
    )
    rule = "an executor that is kept gets nothing else until the task fits"
    return Why(about, state, Cause.ROOM, rule, sentence, f"tasks on {mine.id} end", numbers | _numbers(mine))


def _free(e: Executor) -> int:
    return e.slots - e.busy_slots


def _numbers(e: Executor) -> dict[str, Any]:
    return {"kept_executor": e.id, "kept_slots": e.kept, "kept_for": int(e.kept_for), "kept_free": _free(e)}
