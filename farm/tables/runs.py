"""What was tried where: attempts, executors and orders, and what they cost."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, literal_column
from sqlalchemy.orm import Mapped, mapped_column

from farm.tables.base import ROWID, Base, partial


class Attempt(Base):
    """One run of a task on an executor. Its result counts only with its token and from its state."""

    __tablename__ = "attempt"
    __table_args__ = (
        Index("attempt_on", "executor", "finished"),
        Index("attempt_given", "executor", "given", "finished", **partial("finished IS NULL AND given IS NOT NULL")),
        Index("attempt_open", "job", "number", **partial("finished IS NULL")),
    )
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
    given: Mapped[str | None]  # what it has beside slots while it runs: farm.queue.needs


BY_EXECUTOR: Any = literal_column("attempt.executor || ''").label("executor")
"""To group by: SQLite would else go through the whole index of executors, and not through the one of what is open."""


class Ending(Base):
    """An attempt that has ended for us, and of which its executor has not said yet that it has: what it has is its own.

    Only such that have more than slots. Rows outlive their jobs."""

    __tablename__ = "ending"
    job: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    executor: Mapped[str]
    token: Mapped[int]
    given: Mapped[str | None]  # its attempt's
    licences: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # its step's
    since: Mapped[datetime]
    asked: Mapped[datetime]  # when its site was asked last what runs there


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
    __table_args__ = (Index("executor_job", "job"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    order: Mapped[str]
    pool: Mapped[str]
    site: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    slots: Mapped[int]
    price_nano: Mapped[int]  # per hour
    offer: Mapped[str] = mapped_column(default="")  # what it has beside slots: farm.queue.needs
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
