"""What a user submits, and the states things go through."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, FailFast, Field

from farm.wording import FORMS


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
    JobState.HELD: frozenset(set(JobState) - {JobState.HELD}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.HELD, JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED, JobState.HELD}),
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


T = TypeVar("T")
BIG = 2**52  # exact in every JSON reader
LONG_S = 10 * 366 * 86400  # ten years: longer than anything here lasts
Text = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[int, Field(ge=1, le=BIG)]
Exact = Annotated[int, Field(strict=True, ge=-BIG, le=BIG)]  # neither "7" nor true nor 7.0
Count = Annotated[Exact, Field(ge=0)]
Positive = Annotated[Exact, Field(ge=1)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=LONG_S)]
Flag = Annotated[bool, Field(strict=True)]
Many = Annotated[tuple[T, ...], FailFast()]  # a million wrong ones are told of once


class File(Strict):
    """A file of the store under a name: relative POSIX path, sha256 in hex, bytes, permission bits."""

    path: Text
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Count
    mode: Annotated[Count, Field(le=0o777)] = 0o644


class Range(Strict):
    """Indices first, first+step, … ≤ last."""

    first: Exact
    last: Exact
    step: Positive = 1

    def __len__(self) -> int:
        return max(0, (self.last - self.first) // self.step + 1)

    def at(self, position: int) -> int:
        return self.first + position * self.step


class Item(Strict):
    """A task with a name, an argv and dependencies of its own, such as one package of a rebuild."""

    name: Text
    argv: Many[str]
    env: Mapping[str, str] = {}
    inputs: Many[File] = ()
    after: Many[str] = ()  # names of items of the same step
    changed: Flag = True  # its own source changed; else it is skipped when nothing it comes after came out new
    previous: Many[File] = ()  # its outputs last time: equal ones count as nothing new


_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
_SECRET = r"^(file:/[^\x00-\x1f]{1,1000}|env:[A-Za-z_][A-Za-z0-9_]{0,99})$"
_NAMED = r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$"
_CONDITION = r"^(![A-Za-z][A-Za-z0-9_.-]{0,62}|[A-Za-z][A-Za-z0-9_.-]{0,62}(!?=[A-Za-z0-9_.+:-]{0,100})?)$"
FORMS.update(
    {
        _VARIABLE: "write letters, digits and _, such as MODEL_2",
        _SECRET: "write file:/path/of/a/file or env:NAME",
        _NAMED: "write letters, digits, . _ and -, such as dongle",
        _CONDITION: "write it like arch=arm64, arch!=arm64, ssd (has it) or !ssd (has it not)",
    }
)
Variable = Annotated[str, Field(pattern=_VARIABLE)]
SecretRef = Annotated[str, Field(pattern=_SECRET)]
Named = Annotated[str, Field(pattern=_NAMED)]
Condition = Annotated[str, Field(pattern=_CONDITION)]


class StepSpec(Strict):
    """Tasks that share a template: `array`, or `items`, or else one task.

    `{index}` (and `{frame}`, the same) in argv, env and outputs becomes the array index; with `chunk` > 1 a task takes
    `{first}`…`{last}` by `{step}`. With `items`, argv of the step is empty.
    """

    name: Text = "main"
    argv: Many[str] = ()
    env: Mapping[str, str] = {}
    secrets: Mapping[Variable, SecretRef] = {}  # more of the environment, by where the service finds it
    cwd: str = ""
    array: Range | None = None
    chunk: Positive = 1
    items: Many[Item] = ()
    order: Literal["linear", "ends-first"] = "linear"
    inputs: Many[File] = ()
    outputs: Many[str] = ()
    cpu: Annotated[Positive, Field(le=1024)] = 1
    memory: Count = 0  # bytes; 0 is not stated
    retries: Annotated[Count, Field(le=100)] = 0
    licence_exit: Annotated[Positive, Field(le=255)] | None = None  # this exit means "no licence now": not a failure
    licence_wait_s: Annotated[Seconds, Field(gt=0, le=366 * 86400)] = 86400  # it fails when there is none for so long
    licences: Mapping[Text, Annotated[Positive, Field(le=1_000_000)]] = {}  # of [licences], how many a task holds
    needs: Annotated[Mapping[Named, Positive], Field(max_length=20)] = {}  # amounts beside cpu and memory: gpus, …
    labels: Annotated[Many[Condition], Field(max_length=20)] = ()  # of its executor: k=v, k!=v, k, !k
    timeout_s: Seconds = 0  # wall time; 0 is no limit, here and in the three below
    silence_s: Seconds = 0  # without a byte of output
    output_bytes: Count = 0  # written
    processes: Count = 0  # alive at once
    predicted_s: Annotated[Seconds, Field(ge=0.001)] | None = None
    after: Many[str] = ()  # names of earlier steps
    gather: str = ""  # folder below the working folder that receives the outputs of all it comes after


class JobSpec(Strict):
    """What a user submits."""

    kind: Literal["command", "render", "packages"] = "command"
    name: Text
    owner: Text
    project: str = ""
    lane: Text = "default"
    priority: Annotated[Exact, Field(ge=-100, le=100)] = 0
    after: Many[Positive] = ()
    held: Flag = False
    start_after: AwareDatetime | None = None  # nothing of it begins before
    steps: Annotated[Many[StepSpec], Field(min_length=1)]
    extra: Mapping[str, str] = {}  # what the workload wants to find again: film path, index folder, …


class ManyJobs(Strict):
    """Jobs that differ in their commands only: each is `job`, with one of them behind the argv of its step."""

    job: JobSpec
    commands: Annotated[Many[Many[str]], Field(min_length=1, max_length=100_000)]
