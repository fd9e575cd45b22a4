"""How long tasks are expected to take, and on what that rests."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from farm import tables as t
from farm.queue import predict
from farm.reference import Reference
from farm.tables import AnyRow

_STEPS = (
    select(t.Step.name, t.Step.predicted_s, t.Job.kind, t.Job.name.label("job_name"))
    .join(t.Job, t.Job.id == t.Step.job)
    .where(t.Step.job == bindparam("j"))
    .order_by(t.Step.ordinal)
)
_STEP = _STEPS.where(t.Step.first_number <= bindparam("n"), bindparam("n") < t.Step.first_number + t.Step.total)
_TASK = select(
    t.Task.name, t.Task.predicted_s, t.Task.path_s, t.Task.executor, t.Task.params.is_not(None).label("item")
)
_TASK = _TASK.where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_EXECUTOR = select(t.Executor.pool, t.Executor.slots).where(t.Executor.id == bindparam("e"))


def of_job(tx: Connection, job: int) -> list[dict[str, Any]]:
    """Of each step what one task of it takes."""
    return [{"step": row.name, **_said(tx, row, row.predicted_s)} for row in tx.execute(_STEPS, {"j": job})]


def of_task(tx: Connection, ref: Reference) -> dict[str, Any]:
    """Of one task; where it has an executor, from what was measured on such ones. `path_s` is its own length and that
    of the longest chain behind it, in a campaign."""
    at = {"j": ref.job, "n": ref.number}
    step, task = tx.execute(_STEP, at).one(), tx.execute(_TASK, at).one_or_none()
    item, path = (task.name if task.item else "", task.path_s) if task else ("", None)
    own = task.predicted_s if task and task.predicted_s is not None else step.predicted_s
    shape = _shape(tx, task.executor) if task and task.executor else ""
    return {"step": step.name, **_said(tx, step, own, item, shape), "path_s": path, "shape": shape}


def _shape(tx: Connection, executor: str) -> str:
    row = tx.execute(_EXECUTOR, {"e": executor}).one_or_none()
    return predict.shape(row.pool, row.slots) if row else ""


def _said(tx: Connection, row: AnyRow, planned: float, item: str = "", shape: str = "") -> dict[str, Any]:
    found = predict.prediction(tx, predict.what(row.kind, row.job_name, row.name, item), shape)
    return {"planned_s": planned, "seconds": found.seconds, "low": found.low, "high": found.high, "runs": found.samples}


def numbers(tx: Connection, job: int, step: str, number: int | None = None) -> dict[str, Any]:
    """The same for `farm why`: of a task, or of a step of a job."""
    found = of_task(tx, Reference(job, number)) if number else next(s for s in of_job(tx, job) if s["step"] == step)
    between = [_short(found["low"]), _short(found["high"])]
    return {"predicted_s": _short(found["seconds"]), "between_s": between, "runs": found["runs"]}


def _short(value: float) -> float:
    """Three digits: more is not known."""
    return float(f"{value:.3g}")
