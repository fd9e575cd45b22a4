"""What a user submits, and the states things go through."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class JobState(StrEnum):
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    BLOCKED = "blocked"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class AttemptState(StrEnum):
    CLAIMED = "claimed"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class OrderState(StrEnum):
    OPEN = "open"
    PLACED = "placed"
    REFUSED = "refused"
    CLOSED = "closed"


class ExecutorState(StrEnum):
    ORDERED = "ordered"
    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"
    LOST = "lost"


JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.HELD: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.HELD, JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}
TASK_MOVES: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.BLOCKED: frozenset({TaskState.READY, TaskState.CANCELLED, TaskState.SKIPPED}),
    TaskState.READY: frozenset({TaskState.RUNNING, TaskState.CANCELLED, TaskState.SKIPPED, TaskState.FAILED}),
    TaskState.RUNNING: frozenset({TaskState.DONE, TaskState.FAILED, TaskState.READY, TaskState.CANCELLED}),
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset({TaskState.READY}),
    TaskState.CANCELLED: frozenset({TaskState.READY, TaskState.BLOCKED}),
    TaskState.SKIPPED: frozenset({TaskState.BLOCKED}),
}
ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.CLAIMED: frozenset(set(AttemptState) - {AttemptState.CLAIMED}),
    AttemptState.STARTED: frozenset(
        {
            AttemptState.SUCCEEDED,
            AttemptState.FAILED,
            AttemptState.LOST,
            AttemptState.CANCELLED,
            AttemptState.REFUSED,
        }
    ),
    **{s: frozenset[AttemptState]() for s in AttemptState if s not in (AttemptState.CLAIMED, AttemptState.STARTED)},
}
EXECUTOR_MOVES: Mapping[ExecutorState, frozenset[ExecutorState]] = {
    ExecutorState.ORDERED: frozenset({ExecutorState.BOOTING, ExecutorState.GONE, ExecutorState.LOST}),
    ExecutorState.BOOTING: frozenset(
        {ExecutorState.READY, ExecutorState.DRAINING, ExecutorState.GONE, ExecutorState.LOST}
    ),
    ExecutorState.READY: frozenset({ExecutorState.DRAINING, ExecutorState.GONE, ExecutorState.LOST}),
    ExecutorState.DRAINING: frozenset({ExecutorState.GONE, ExecutorState.LOST}),
    ExecutorState.GONE: frozenset(),
    ExecutorState.LOST: frozenset(),
}


class Strict(BaseModel):
    """A request part: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, Field(min_length=1, max_length=200)]


class File(Strict):
    """A file of the store under a name: relative POSIX path, sha256 in hex, bytes, permission bits."""

    path: Text
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0o644


BIG = 2**52  # exact in every JSON reader
Number = Annotated[int, Field(ge=1, le=BIG)]


class Range(Strict):
    """Indices first, first+step, … ≤ last."""

    first: Annotated[int, Field(ge=-BIG, le=BIG)]
    last: Annotated[int, Field(ge=-BIG, le=BIG)]
    step: Annotated[int, Field(ge=1, le=BIG)] = 1

    def __len__(self) -> int:
        return max(0, (self.last - self.first) // self.step + 1)

    def at(self, position: int) -> int:
        return self.first + position * self.step


class Item(Strict):
    """A task with a name, an argv and dependencies of its own, such as one package of a rebuild."""

    name: Text
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    inputs: tuple[File, ...] = ()
    after: tuple[str, ...] = ()  # names of items of the same step
    changed: bool = True  # its own source changed; else it is skipped when nothing it comes after came out new
    previous: tuple[File, ...] = ()  # its outputs last time: equal ones count as nothing new


class StepSpec(Strict):
    """Tasks that share a template: `array`, or `items`, or else one task.

    `{index}` (and `{frame}`, the same) in argv, env and outputs becomes the array index; with `chunk` > 1 a task takes
    `{first}`…`{last}` by `{step}`. With `items`, argv of the step is empty.
    """

    name: Text = "main"
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    cwd: str = ""
    array: Range | None = None
    chunk: Annotated[int, Field(ge=1)] = 1
    items: tuple[Item, ...] = ()
    order: Literal["linear", "ends-first"] = "linear"
    inputs: tuple[File, ...] = ()
    outputs: tuple[str, ...] = ()
    cpu: Annotated[int, Field(ge=1, le=1024)] = 1
    memory: Annotated[int, Field(ge=0)] = 0  # bytes; 0 is not stated
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    licence_exit: Annotated[int, Field(ge=1, le=255)] | None = None  # this exit means "no licence now": not a failure
    licence_wait_s: Annotated[float, Field(gt=0, le=366 * 86400)] = 86400  # it fails when there is none for so long
    timeout_s: Annotated[float, Field(ge=0)] = 0  # wall time; 0 is no limit, here and in the three below
    silence_s: Annotated[float, Field(ge=0)] = 0  # without a byte of output
    output_bytes: Annotated[int, Field(ge=0)] = 0  # written
    processes: Annotated[int, Field(ge=0)] = 0  # alive at once
    predicted_s: Annotated[float, Field(gt=0)] | None = None
    after: tuple[str, ...] = ()  # names of earlier steps
    gather: str = ""  # folder below the working folder that receives the outputs of all it comes after


class JobSpec(Strict):
    """What a user submits."""

    kind: Literal["command", "render", "packages"] = "command"
    name: Text
    owner: Text
    project: str = ""
    lane: Text = "default"
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    after: tuple[Number, ...] = ()
    held: bool = False
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1)]
    extra: Mapping[str, str] = {}  # what the workload wants to find again: film path, index folder, …
