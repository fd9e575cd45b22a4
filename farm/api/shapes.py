"""The shapes of answers, for the document and those who read it; answers themselves are plain dicts."""

from collections.abc import Mapping
from typing import Any, Literal

from farm.api.shape import Shape
from farm.api.shapes_access import Listening
from farm.api.shapes_money import BudgetNow
from farm.api.shapes_schedule import Hours
from farm.model import AttemptState, ExecutorState, File, JobState, TaskState


class Said(Shape):
    what: str
    where: str
    remedy: str


class Error(Shape):
    """Every refusal: what is wrong, where, and what to do next."""

    error: Said


class Created(Shape):
    id: int


class CreatedMany(Shape):
    """Ids that follow each other, as first and last, in the order of the commands."""

    ids: list[tuple[int, int]]


class Changed(Shape):
    """How many tasks changed."""

    changed: int


class Stored(Shape):
    digest: str


class Missing(Shape):
    missing: list[str]


class Unpacked(Shape):
    files: int


class Stopping(Shape):
    stopping: bool
    kept: str


class Counts(Shape):
    total: int
    blocked: int
    ready: int
    running: int  # those `claimed` included: handed out to an executor, and not begun yet
    claimed: int
    done: int
    failed: int
    cancelled: int
    skipped: int


class Job(Shape):
    """Times are ISO 8601 in UTC, the cost is a decimal."""

    id: int
    kind: str
    name: str
    owner: str
    project: str
    lane: str
    priority: int
    deadline: str | None
    state: JobState
    submitted: str
    started: str | None
    finished: str | None
    tasks: Counts
    cost: str
    why: str
    extra: Mapping[str, str]
    after: list[int]


class Jobs(Shape):
    jobs: list[Job]


class JobNow(Job):
    """`seen` is the number of its last change."""

    seen: int


class Predicted(Shape):
    """Seconds that one task of the step takes: as it was planned with, and as known by now. Four of five are expected
    between `low` and `high`; after no `runs` at all it is a guess."""

    step: str
    planned_s: float
    seconds: float
    low: float
    high: float
    runs: int


class PredictedTask(Predicted):
    """`path_s`: with the longest chain of tasks behind it. `shape`: pool and slots of executors it was measured on."""

    path_s: float | None
    shape: str


class JobShown(JobNow):
    predicted: list[Predicted]


class Task(Shape):
    ref: str
    step: str
    name: str
    index: int | None
    state: TaskState
    exit: int | None
    cause: str
    message: str
    executor: str | None
    started: str | None
    finished: str | None
    attempts: int
    cpu_s: float
    rss_mib: float
    outputs: list[File]


class Tasks(Shape):
    tasks: list[Task]


class Waited(JobNow):
    finished_tasks: list[Task]


class Refused(Shape):
    """A result of an attempt that came too late or with a wrong token: kept, never used."""

    at: str
    executor: str
    token: int | None
    exit: int | None
    cause: str
    outputs: int


class Attempt(Shape):
    ref: str
    state: AttemptState
    executor: str
    claimed: str | None
    started: str | None
    finished: str | None
    exit: int | None
    cause: str
    message: str
    accepted: bool
    refused: list[Refused]


class TaskNow(Shape):
    ref: str
    name: str
    index: int | None
    state: TaskState
    outputs: list[File]
    attempts: list[Attempt]
    predicted: PredictedTask


class Process(Shape):
    role: str
    pid: int


class Member(Shape):
    """A process that leads the farm, or stands by."""

    home: str
    host: str
    pid: int
    since: str


class Status(Shape):
    farm: str
    version: str
    home: str
    engine: str
    running: bool
    processes: list[Process]
    leader: Member | None
    standbys: list[Member]
    apis: list[Member]  # those that serve the API beside the leader
    queue: Mapping[str, int]
    held: list[str]
    executors: Mapping[ExecutorState, int]
    spent: str
    currency: str
    database: str  # a path, or a URL without its password
    waiters: int
    listening: Listening | None
    refused: int
    refused_since: str


class Executor(Shape):
    id: str
    pool: str
    state: ExecutorState
    slots: int
    busy: int
    ordered: str | None
    ready: str | None
    idle_since: str | None
    gone: str | None
    price: str | None
    why: str


class Executors(Shape):
    executors: list[Executor]


class Pool(Hours):
    name: str
    provider: str
    slots: int
    boot_s: float
    breaker_open_until: str | None
    closed: str
    executors: int


class Pools(Shape):
    pools: list[Pool]


class Holding(Shape):
    """`running`: tasks that go on to their end."""

    kind: Literal["job", "lane", "pool"]
    name: str
    held: bool
    running: int


class Otherwise(Shape):
    """Name → before and after."""

    job: int
    changed: Mapping[str, tuple[int | str | None, int | str | None]]


class Drained(Shape):
    executor: str
    state: Literal["draining"]


class SpendingNow(Shape):
    """`pools`: those that order nothing while it is stopped."""

    stopped: bool
    pools: list[str]


class Held(Shape):
    """By whom, why, since when."""

    kind: str
    name: str
    who: str
    why: str
    at: str


class Act(Held):
    id: int
    verb: str
    details: Mapping[str, tuple[int | str | None, int | str | None]]


class Acts(Shape):
    held: list[Held]
    acts: list[Act]


class Reason(Shape):
    """Why something is as it is."""

    about: str
    state: str
    cause: str
    rule: str
    numbers: Mapping[str, Any]
    next: str
    sentence: str


class Pruned(Shape):
    """How much was removed, or would be."""

    logs: int
    log_bytes: int
    decisions: int
    refused: int
    quarantines: int
    tokens: int
    jobs: int
    tasks: int
    executors: int
    durations: int
    leftovers: int


class Spent(Shape):
    key: str
    boot_s: float
    busy_s: float
    idle_s: float
    drain_s: float
    cost: str


class Bill(Shape):
    currency: str
    by: Literal["job", "owner", "project", "pool"]
    rows: list[Spent]
    total: str
    always_on: str
    since: str | None
    until: str | None
    budgets: list[BudgetNow]


class Admitted(Shape):
    """A machine's own token; `now` is in microseconds since the epoch, `sync` the version of it that is spoken here."""

    token: str
    site: str
    lease_s: float
    now: int
    sync: int


class StandbyToken(Shape):
    """The token of a machine that stands by, and the name that the farm knows it by."""

    token: str
    machine: str
    farm: str


class Summons(Shape):
    """What a machine that stands by shall do: become the executor of an invitation, end one, or (empty) go on.
    `note` is for its console."""

    invitation: str
    end: str
    note: str


class Noted(Shape):
    kept: bool


class Health(Shape):
    well: bool


class Planned(Shape):
    """`id` is null when there is nothing to build."""

    id: int | None
    why: str
    notes: list[str]
