"""From a step's template and a position to one piece of work."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select

from executors.contract import FileRef, Work
from farm import tables as t
from farm.model import TaskState
from farm.tables import AnyRow

_ITEM_OUTPUTS = (
    select(t.Task.outputs)
    .join(t.TaskEdge, and_(t.TaskEdge.job == t.Task.job, t.TaskEdge.before == t.Task.number))
    .where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.number == bindparam("n"))
    .order_by(t.Task.number)
)
_STEP_OUTPUTS = (
    select(t.Task.outputs)
    .join(t.Step, and_(t.Step.job == t.Task.job, t.Step.ordinal == t.Task.step))
    .where(t.Task.job == bindparam("j"), t.Step.name.in_(bindparam("names", expanding=True)))
    .where(t.Task.state == TaskState.DONE)
    .order_by(t.Task.number)
)


def name(step: AnyRow, position: int) -> str:
    """What a task of an array is called: its index, or its chunk's range."""
    if not step.array:
        return str(step.name)
    first, last = _indices(step, position)
    return str(first) if first == last else f"{first}-{last}"


def index(step: AnyRow, position: int) -> int | None:
    return _indices(step, position)[0] if step.array else None


def _indices(step: AnyRow, position: int) -> tuple[int, int]:
    """First and last index of the task at `position`."""
    a = step.array
    first = a["first"] + position * step.chunk * a["step"]
    top = a["first"] + (a["last"] - a["first"]) // a["step"] * a["step"]
    return first, min(first + (step.chunk - 1) * a["step"], top)


def gathered(tx: Connection, step: AnyRow, number: int, params: Mapping[str, Any] | None) -> tuple[FileRef, ...]:
    """Outputs of what this task comes after, to be placed in the step's `gather` folder."""
    folder = step.template.get("gather")
    if not folder:
        return ()
    if params is not None:
        rows = tx.execute(_ITEM_OUTPUTS, {"j": step.job, "n": number})
    else:
        rows = tx.execute(_STEP_OUTPUTS, {"j": step.job, "names": step.template.get("after", [])})
    refs = [FileRef(**o) for row in rows for o in row.outputs or ()]
    return tuple(FileRef(f"{folder}/{PurePosixPath(r.path).name}", r.digest, r.size, r.mode) for r in refs)


def work(
    step: AnyRow,
    number: int,
    position: int,
    ordinal: int,
    token: int,
    term: int,
    params: Mapping[str, Any] | None,
    inputs: Sequence[FileRef],
    memory: int = 0,
) -> Work:
    """The attempt as the executor gets it. Only the exact tokens are replaced; anything else in braces stays."""
    shape = step.template
    own: Mapping[str, Any] = params or {}
    tokens = _tokens(step, position)
    argv = own.get("argv") or shape.get("argv", ())
    env = {**shape.get("env", {}), **own.get("env", {})}
    files = [FileRef(**f) for f in (*shape.get("inputs", ()), *own.get("inputs", ()))]
    return Work(
        attempt=f"{step.job}.{number}.{ordinal}",
        token=token,
        term=term,
        argv=tuple(_fill(a, tokens) for a in argv),
        env={k: _fill(v, tokens) for k, v in env.items()} | _farm_env(step, number, ordinal, tokens),
        cwd=shape.get("cwd", ""),
        inputs=(*files, *inputs),
        outputs=tuple(_fill(o, tokens) for o in shape.get("outputs", ())),
        slots=step.slots,
        timeout_s=step.timeout_s,
        silence_s=shape.get("silence_s", 0),
        output_bytes=shape.get("output_bytes", 0),
        memory_bytes=memory or step.memory,
        processes=shape.get("processes", 0),
        owner=step.owner,
    )


def _tokens(step: AnyRow, position: int) -> Mapping[str, str]:
    if not step.array:
        return {}
    first, last = _indices(step, position)
    one = str(first)
    return {
        "{index}": one,
        "{frame}": one,
        "{first}": one,
        "{last}": str(last),
        "{step}": str(step.array["step"]),
    }


def _fill(text: str, tokens: Mapping[str, str]) -> str:
    if "{" in text:
        for token, value in tokens.items():
            text = text.replace(token, value)
    return text


def _farm_env(step: AnyRow, number: int, ordinal: int, tokens: Mapping[str, str]) -> dict[str, str]:
    env = {
        "FARM_JOB": str(step.job),
        "FARM_TASK": f"{step.job}.{number}",
        "FARM_ATTEMPT": f"{step.job}.{number}.{ordinal}",
    }
    if tokens:
        env["FARM_INDEX"] = tokens["{index}"]
    return env
