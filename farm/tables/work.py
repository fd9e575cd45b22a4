"""What people want: jobs, their steps and tasks, and what these wait for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from farm.tables.base import BAD, NEEDY, OPEN, PLAIN, ROWID, SIZE, TURN, WAITS, Base, partial


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
        Index("step_due", "due", **partial(WAITS)),
        Index("step_waiting", *TURN, *SIZE, "early", "state", "held", "needs", **partial(PLAIN)),
        Index("step_needy", "needs", *TURN, *SIZE, "early", "state", "held", **partial(NEEDY)),
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
    needs: Mapped[str] = mapped_column(default="")  # what a task needs beside slots: farm.queue.needs
    memory: Mapped[int]
    retries: Mapped[int]
    licence_exit: Mapped[int | None]  # an exit that means "no licence now"
    licence_wait_s: Mapped[float] = mapped_column(default=0.0)  # for so long in all
    timeout_s: Mapped[float]
    predicted_s: Mapped[float]  # of one task; of items the mean
    licences: Mapped[Mapping[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # name → how many a task holds
    due: Mapped[datetime]


_TASK = ("job", "number", "slots", "not_before", "state", "held")


class Task(Base):
    __tablename__ = "task"
    __table_args__ = (
        Index("task_waiting", *TURN, *_TASK, "needs", **partial(PLAIN)),
        Index("task_needy", "needs", *TURN, *_TASK, **partial(NEEDY)),
        Index("task_short", "job", "step", "predicted_s", "number", **partial(f"{WAITS} AND path_s IS NOT NULL")),
        Index("task_lead", "job", "step", "lead", **partial("state = 'running' AND lead IS NOT NULL")),
        Index("task_changed", "job", "changed"),
        Index("task_open", "job", "step", "state", **partial(OPEN)),
        Index("task_bad", "job", "state", "number", **partial(BAD)),
        ForeignKeyConstraint(["job", "step"], ["step.job", "step.ordinal"]),
    )
    job: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int]
    position: Mapped[int]
    lane: Mapped[str] = mapped_column(default="")  # its job's, as the owner
    owner: Mapped[str] = mapped_column(default="")
    slots: Mapped[int] = mapped_column(default=1)  # its step's
    needs: Mapped[str] = mapped_column(default="")  # its step's
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
