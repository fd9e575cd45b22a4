"""How many tasks of jobs are in which state, for any number of jobs in the same few questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy import text as sql

from farm import tables as t
from farm.model import AttemptState
from farm.tables import AnyRow

ENDED = ("done", "failed", "cancelled", "skipped")
_JOBS: Any = bindparam("jobs", expanding=True)
_UNTOUCHED = (
    select(t.Step.job, t.Step.state, func.sum(t.Step.total - t.Step.next - t.Step.early).label("n"))
    .where(t.Step.job.in_(_JOBS), t.Step.next + t.Step.early < t.Step.total, t.Step.state != "ended")
    .group_by(t.Step.job, t.Step.state)
)
_WAITING = (
    select(t.Task.job, t.Task.state, func.count().label("n"))
    .where(t.Task.job.in_(_JOBS), sql(t.TASK_OPEN))
    .group_by(t.Task.job, t.Task.state)
)
_CLAIMED = (
    select(t.Attempt.job, func.count().label("n"))
    .where(t.Attempt.job.in_(_JOBS), t.Attempt.finished.is_(None), t.Attempt.state == AttemptState.CLAIMED)
    .group_by(t.Attempt.job)
)


def counts(tx: Connection, rows: Sequence[AnyRow]) -> Mapping[int, dict[str, int]]:
    """Of rows of the table job: id → state → tasks; `claimed` are among those that are running. What has ended is in
    the job's own row: a million of them are not looked at."""
    found = {row.id: _known(row) for row in rows}
    waits = [job for job, known in found.items() if known["total"] > sum(known[s] for s in ("running", *ENDED))]
    if waits:
        for row in (*tx.execute(_UNTOUCHED, {"jobs": waits}), *tx.execute(_WAITING, {"jobs": waits})):
            found[row.job][row.state] += int(row.n)
    if running := [job for job, known in found.items() if known["running"]]:
        for row in tx.execute(_CLAIMED, {"jobs": running}):
            found[row.job]["claimed"] = int(row.n)
    return found


def _known(row: AnyRow) -> dict[str, int]:
    own: dict[str, Any] = {state: getattr(row, state) for state in ("running", *ENDED)}
    return {"total": row.total, "blocked": 0, "ready": 0, **own, "claimed": 0}
