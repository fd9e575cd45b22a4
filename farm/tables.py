"""All tables, typed. Times are microseconds since the epoch in the database, aware UTC datetimes in Python."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, ForeignKeyConstraint, Index, Integer, Row, TypeDecorator
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from farm.clock import from_micros, micros

AnyRow = Row[*tuple[Any, ...]]
"""A row of any select; columns are read by name."""

ROWID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


STEP_WAITS = "step.state = 'ready' AND step.held = 0"
TASK_WAITS = "task.state = 'ready' AND task.held = 0"
"""Where the partial indexes of what waits hold; a query must say the same, literally, to be answered from them."""
_WAITS = "state = 'ready' AND held = 0"


_TURN = ("lane", "owner", "due")
_SIZE = ("job", "ordinal", "slots", "next", "total")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sql(condition), "postgresql_where": sql(condition)}


class Utc(TypeDecorator[datetime]):
    """An instant. Refuses naive times: SQLite would silently drop a zone."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:
        """Without SQLAlchemy's two calls around it: six times come with every task."""
        return _to_micros

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        return _of_micros


def _to_micros(value: datetime | None) -> int | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return micros(value)


def _of_micros(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Utc,
        int: BigInteger,
        Mapping[str, Any]: JSON,
        list[Any]: JSON,
    }


class Meta(Base):
    """Facts about this database: the farm's id, the scheduler's term."""

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Job(Base):
    __tablename__ = "job"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    owner: Mapped[str] = mapped_column(index=True)
    project: Mapped[str]
    lane: Mapped[str]
    priority: Mapped[int]
    deadline: Mapped[datetime | None]  # when all of it should be done
    state: Mapped[str] = mapped_column(index=True)
    why: Mapped[str] = mapped_column(default="")
    extra: Mapped[Mapping[str, Any]]
    submitted: Mapped[datetime]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    changes: Mapped[int] = mapped_column(default=0)  # grows with every change that a waiter wants to see
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    cancelled: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    running: Mapped[int] = mapped_column(default=0)


class JobEdge(Base):
    """`job` starts after `before` succeeded."""

    __tablename__ = "job_edge"
    job: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    before: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True, index=True)


class Step(Base):
    """Tasks `first_number` … `first_number + total - 1` of a job share this template.

    Those of an array have no rows before they run: `next` counts the positions handed out so far, `early` those beyond
    it that have a row all the same, since they were cancelled before their turn.
    """

    __tablename__ = "step"
    __table_args__ = (
        Index("step_due", "due", **_where(_WAITS)),
        Index("step_waiting", *_TURN, *_SIZE, "early", "state", "held", **_where(_WAITS)),
    )
    job: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(default="")  # its job's, as the owner
    owner: Mapped[str] = mapped_column(default="")
    name: Mapped[str]
    state: Mapped[str]  # blocked, ready, ended
    held: Mapped[int] = mapped_column(default=0)  # 1 while its job is held
    waits: Mapped[int]  # steps and jobs it still waits for
    left: Mapped[int]  # tasks that have not ended
    bad: Mapped[int] = mapped_column(default=0)  # tasks that ended otherwise than done
    first_number: Mapped[int]
    total: Mapped[int]
    next: Mapped[int]
    early: Mapped[int] = mapped_column(default=0)
    array: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    chunk: Mapped[int]
    order: Mapped[str]
    template: Mapped[Mapping[str, Any]]  # argv, env, cwd, inputs, outputs, gather, after
    slots: Mapped[int]
    memory: Mapped[int]
    retries: Mapped[int]
    licence_exit: Mapped[int | None]  # an exit that means "no licence now"
    licence_wait_s: Mapped[float] = mapped_column(default=0.0)  # for so long in all
    timeout_s: Mapped[float]
    predicted_s: Mapped[float]  # of one task; of items the mean
    licences: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # name → how many a task holds
    due: Mapped[datetime]


class Task(Base):
    __tablename__ = "task"
    __table_args__ = (
        Index("task_waiting", *_TURN, "job", "number", "slots", "not_before", "state", "held", **_where(_WAITS)),
        Index("task_short", "job", "step", "predicted_s", "number", **_where(f"{_WAITS} AND path_s IS NOT NULL")),
        Index("task_lead", "job", "step", "lead", **_where("state = 'running' AND lead IS NOT NULL")),
        Index("task_changed", "job", "changed"),
        ForeignKeyConstraint(["job", "step"], ["step.job", "step.ordinal"]),
    )
    job: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int]
    position: Mapped[int]
    lane: Mapped[str] = mapped_column(default="")  # its job's, as the owner
    owner: Mapped[str] = mapped_column(default="")
    slots: Mapped[int] = mapped_column(default=1)  # its step's
    name: Mapped[str]
    state: Mapped[str]
    held: Mapped[int] = mapped_column(default=0)  # its step's
    waits: Mapped[int] = mapped_column(default=0)
    due: Mapped[datetime]
    predicted_s: Mapped[float | None]  # of an item; else its step says
    path_s: Mapped[float | None]  # of a campaign: its own and the longest chain behind it
    lead: Mapped[str | None]  # of a campaign: which half took it, path or short
    params: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)  # real ones, against `retries`
    losses: Mapped[int] = mapped_column(default=0)  # of infrastructure, free but capped
    licences: Mapped[int] = mapped_column(default=0)  # how often there was none, free but capped by time
    licence_since: Mapped[datetime | None]  # the first time
    not_before: Mapped[datetime | None]  # it pauses until then
    grown: Mapped[int] = mapped_column(default=0)  # how often it was given more memory
    memory: Mapped[int] = mapped_column(default=0)  # bytes, where it got more than its step says
    failed_on: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # executors on which it really failed
    accepted: Mapped[int | None]  # ordinal of the attempt whose result counts
    outputs: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    exit: Mapped[int | None]
    cause: Mapped[str] = mapped_column(default="")
    message: Mapped[str] = mapped_column(default="")
    cpu_ms: Mapped[int] = mapped_column(default=0)
    rss_kib: Mapped[int] = mapped_column(default=0)
    executor: Mapped[str | None]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    changed: Mapped[int] = mapped_column(default=0)  # the job's `changes` when it ended


class TaskEdge(Base):
    """Task `number` waits for task `before` of the same job."""

    __tablename__ = "task_edge"
    __table_args__ = (Index("task_edge_before", "job", "before"),)
    job: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    before: Mapped[int] = mapped_column(primary_key=True)


class Act(Base):
    """Append-only: what a person held, released, set, drained or stopped, and why."""

    __tablename__ = "act"
    __table_args__ = (Index("act_about", "kind", "name"),)
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str]
    verb: Mapped[str]  # hold, release, set, drain, stop-spending, resume-spending
    kind: Mapped[str]  # job, lane, pool, executor, spending
    name: Mapped[str]
    why: Mapped[str]
    details: Mapped[Mapping[str, Any]]  # of set: name → [before, after]


class Hold(Base):
    """What is held now, by which act. A held job is in this state itself, and not here."""

    __tablename__ = "hold"
    kind: Mapped[str] = mapped_column(primary_key=True)  # lane, pool, spending
    name: Mapped[str] = mapped_column(primary_key=True)
    act: Mapped[int] = mapped_column(ForeignKey("act.id"))


class Attempt(Base):
    """One run of a task on an executor. Its result counts only with its token and from its state."""

    __tablename__ = "attempt"
    __table_args__ = (Index("attempt_on", "executor", "finished"),)
    job: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(default=0)  # its task's
    executor: Mapped[str]
    token: Mapped[int]
    slots: Mapped[int]
    state: Mapped[str]
    claimed: Mapped[datetime]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    exit: Mapped[int | None]
    cause: Mapped[str] = mapped_column(default="")
    message: Mapped[str] = mapped_column(default="")
    cpu_ms: Mapped[int] = mapped_column(default=0)
    rss_kib: Mapped[int] = mapped_column(default=0)
    spool: Mapped[str] = mapped_column(default="")
    lo: Mapped[int] = mapped_column(default=0)
    hi: Mapped[int] = mapped_column(default=0)


class Refused(Base):
    """A result that came too late or with a wrong token: kept as evidence, never used."""

    __tablename__ = "refused"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime]
    executor: Mapped[str]
    attempt: Mapped[str]
    event: Mapped[Mapping[str, Any]]


class Order(Base):
    """Intent, written before the effect."""

    __tablename__ = "order"
    token: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str]
    machines: Mapped[int]
    slots: Mapped[int]
    state: Mapped[str] = mapped_column(index=True)
    why: Mapped[str]
    job: Mapped[int | None]
    created: Mapped[datetime]
    not_before: Mapped[datetime]
    error: Mapped[str] = mapped_column(default="")


class Executor(Base):
    __tablename__ = "executor"
    id: Mapped[str] = mapped_column(primary_key=True)
    order: Mapped[str]
    pool: Mapped[str]
    site: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    slots: Mapped[int]
    price_nano: Mapped[int]  # per hour
    why: Mapped[str]
    job: Mapped[int | None]  # whom its boot and idle time is for: the one it was ordered for, then the last it ran
    ordered: Mapped[datetime]
    launched: Mapped[datetime]
    ready: Mapped[datetime | None]
    draining: Mapped[datetime | None]
    stopping: Mapped[datetime | None]  # told to go
    ended: Mapped[datetime | None]
    idle_since: Mapped[datetime | None]
    seen: Mapped[int] = mapped_column(default=0)  # number of its last event on our disk
    billed_until: Mapped[datetime]
    billed_rest: Mapped[int] = mapped_column(default=0)  # what integer division left over, in nano · µs / h
    closed: Mapped[bool] = mapped_column(default=False)  # its bill is complete
    suspect: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # the last real failure on it
    quarantined: Mapped[datetime | None]


class Quarantine(Base):
    """An executor that was sent away because tasks of different jobs failed on it, and the evidence."""

    __tablename__ = "quarantine"
    __table_args__ = (Index("quarantine_pool", "pool", "at"),)
    executor: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str]
    at: Mapped[datetime]
    evidence: Mapped[list[Any]]  # attempt, exit, cause of each failure


class Ledger(Base):
    """Append-only: microseconds of an executor, what it did then, for whom, at what price."""

    __tablename__ = "ledger"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    executor: Mapped[str] = mapped_column(index=True)
    pool: Mapped[str]
    kind: Mapped[str]  # boot, busy, idle, drain
    job: Mapped[int | None] = mapped_column(index=True)
    owner: Mapped[str]
    project: Mapped[str]
    since: Mapped[datetime]
    until: Mapped[datetime]
    micros: Mapped[int]
    price_nano: Mapped[int]
    cost_nano: Mapped[int]


class PoolFact(Base):
    """What is known of a pool: boot times, its breaker. Hysteresis lives here, never in the policy."""

    __tablename__ = "pool_fact"
    name: Mapped[str] = mapped_column(primary_key=True)
    boots: Mapped[int] = mapped_column(default=0)
    boot_s: Mapped[float] = mapped_column(default=0.0)
    boot_p95_s: Mapped[float] = mapped_column(default=0.0)
    failures: Mapped[int] = mapped_column(default=0)
    breaker_until: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(default="")


class LaneFact(Base):
    """Virtual time of a lane: predicted machine-seconds it was given, divided by its weight.

    The row without a name is the farm's own: where the lane that was served last stood when its turn came.
    """

    __tablename__ = "lane_fact"
    name: Mapped[str] = mapped_column(primary_key=True)
    virtual_s: Mapped[float] = mapped_column(default=0.0)
    backlogged: Mapped[bool] = mapped_column(default=False)  # it still had work waiting after the last claim


class OwnerFact(Base):
    """The same of an owner inside a lane; the row without an owner is the lane's own."""

    __tablename__ = "owner_fact"
    lane: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    virtual_s: Mapped[float] = mapped_column(default=0.0)
    backlogged: Mapped[bool] = mapped_column(default=False)


class Duration(Base):
    """What is known of how long something takes: mean and variance of the logarithm, exponentially forgotten."""

    __tablename__ = "duration"
    what: Mapped[str] = mapped_column(primary_key=True)
    samples: Mapped[int]
    log_mean: Mapped[float]
    log_var: Mapped[float]


class DecisionRow(Base):
    """A decision with the snapshot it came from: replayable."""

    __tablename__ = "decision"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    snapshot: Mapped[Mapping[str, Any]]
    decision: Mapped[Mapping[str, Any]]


class Built(Base):
    """The last accepted build of a package: what it was made of and what came out."""

    __tablename__ = "built"
    package: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    environment: Mapped[str]
    outputs: Mapped[list[Any]]
    job: Mapped[int]
    number: Mapped[int]
    at: Mapped[datetime]


class Pushed(Base):
    """A push that was taken in: told twice (by the hook and by its spool) it makes one job."""

    __tablename__ = "pushed"
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    event: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
    answer: Mapped[Mapping[str, Any]]


class Token(Base):
    """What a person or a machine shows instead of a password; of its secret only a hash."""

    __tablename__ = "token"
    __table_args__ = (Index("token_executor", "executor"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[str]  # sha256 in hex
    kind: Mapped[str]  # person, machine, join, standby
    owner: Mapped[str] = mapped_column(default="")
    name: Mapped[str] = mapped_column(default="")
    scopes: Mapped[list[Any]]
    pool: Mapped[str] = mapped_column(default="")
    executor: Mapped[str] = mapped_column(default="")
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(default="")
    expires: Mapped[datetime | None]
    used: Mapped[datetime | None]  # to the minute
    revoked: Mapped[datetime | None]


class Joined(Base):
    """An executor from elsewhere whose secret was exchanged: once, by whoever sent this nonce."""

    __tablename__ = "joined"
    executor: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str]
    at: Mapped[datetime]
    nonce: Mapped[str]  # sha256 in hex: who lost the answer may ask again, and nobody else
    host: Mapped[str]
    python: Mapped[str]
    ray: Mapped[str]


class JoinFailure(Base):
    """A machine that could not join, as it says itself or as it was told."""

    __tablename__ = "join_failure"
    __table_args__ = (Index("join_failure_pool", "pool", "id"),)
    id: Mapped[int] = mapped_column(ROWID, primary_key=True)
    at: Mapped[datetime]
    pool: Mapped[str]
    executor: Mapped[str]
    host: Mapped[str]
    what: Mapped[str]


class Asked(Base):
    """A request that came under a key of its own, and its answer: repeated after a cut it is not carried out twice."""

    __tablename__ = "asked"
    __table_args__ = (Index("asked_at", "at"),)
    key: Mapped[str] = mapped_column(primary_key=True)  # sha256 in hex of who asked and his key
    request: Mapped[str]  # sha256 in hex of what was asked
    answer: Mapped[Mapping[str, Any]]
    at: Mapped[datetime]
