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


class Template:
    """A step taken apart once, for the many works that are made of it."""

    def __init__(self, step: AnyRow) -> None:
        shape = step.template
        self._step, self._job = step, step.job
        self.gathers = bool(shape.get("gather"))
        self._argv, self._env = tuple(shape.get("argv", ())), dict(shape.get("env", {}))
        self._inputs, self._outputs = _files(shape), tuple(shape.get("outputs", ()))
        self._open = any("{" in text for text in (*self._argv, *self._env.values(), *self._outputs))
        self._memory = step.memory
        self._array = (step.array["first"], step.array["step"] * step.chunk) if step.array else None
        self.simple = not (
            self.gathers or self._open or shape.get("secrets")
        )  # its works differ by their numbers alone
        self._fixed = {
            "secrets": shape.get("secrets", {}),  # where they are; the values come when it is handed out
            "cwd": shape.get("cwd", ""),
            "slots": step.slots,
            "timeout_s": step.timeout_s,
            "silence_s": shape.get("silence_s", 0),
            "output_bytes": shape.get("output_bytes", 0),
            "processes": shape.get("processes", 0),
            "owner": step.owner,
        }

    def work(
        self,
        number: int,
        position: int,
        ordinal: int,
        token: int,
        term: int,
        params: Mapping[str, Any] | None = None,
        gathered: Sequence[FileRef] = (),
        memory: int = 0,
    ) -> Work:
        """The attempt as the executor gets it. Only the exact tokens are replaced; anything else in braces stays."""
        argv, env, files, outputs = self._argv, self._env, self._inputs, self._outputs
        if params:
            argv, env = tuple(params.get("argv") or argv), {**env, **params.get("env", {})}
            files = (*files, *_files(params))
        if (self._open or params) and (tokens := _tokens(self._step, position)):
            argv, outputs = tuple(_fill(a, tokens) for a in argv), tuple(_fill(o, tokens) for o in outputs)
            env = {k: _fill(v, tokens) for k, v in env.items()}
        task = f"{self._job}.{number}"
        attempt = f"{task}.{ordinal}"
        env = {**env, "FARM_JOB": str(self._job), "FARM_TASK": task, "FARM_ATTEMPT": attempt}
        if self._array:
            env["FARM_INDEX"] = str(self._array[0] + position * self._array[1])
        return Work(
            attempt=attempt,
            token=token,
            term=term,
            argv=argv,
            env=env,
            inputs=(*files, *gathered),
            outputs=outputs,
            memory_bytes=memory or self._memory,
            **self._fixed,
        )

    def name(self, position: int) -> str:
        """What the task there is called."""
        if self._array and self._step.chunk == 1:
            return str(self._array[0] + position * self._array[1])
        return name(self._step, position)

    def shared(self, term: int) -> Work:
        """What all works of a simple template have."""
        env = {**self._env, "FARM_JOB": str(self._job)}
        files = {"inputs": self._inputs, "outputs": self._outputs, "memory_bytes": self._memory}
        return Work("", 0, term, self._argv, env, **files, **self._fixed)

    def own(self, number: int, position: int, token: int) -> str:
        """What the first attempt of a task has beyond, as JSON: the library would take several times as long."""
        task = f"{self._job}.{number}"
        index = f',"FARM_INDEX":"{self._array[0] + position * self._array[1]}"' if self._array else ""
        return (
            f'{{"attempt":"{task}.1","token":{token},"env":{{"FARM_TASK":"{task}","FARM_ATTEMPT":"{task}.1"{index}}}}}'
        )


def _files(shape: Mapping[str, Any]) -> tuple[FileRef, ...]:
    return tuple(FileRef(**file) for file in shape.get("inputs", ()))


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
