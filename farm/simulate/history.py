"""The farm's own past as a recorded day: what was submitted, how long each attempt ran, and how it went in truth."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select

from farm import tables as t
from farm.clock import EPOCH, micros
from farm.config import FarmConfig, PoolConfig
from farm.fleet import pool_fact
from farm.model import AttemptState
from farm.queue.predict import what
from farm.refusal import Refusal
from farm.simulate.lived import AS_IT_WAS
from farm.simulate.pools import Offer
from farm.simulate.score import percentile
from farm.simulate.trace import MOST_JOBS, SECOND, Job
from farm.tables import AnyRow

_SINCE = t.Job.submitted >= bindparam("since", type_=t.Utc())
_RAN = (
    select(t.Attempt.job, t.Attempt.number, t.Attempt.step, t.Attempt.started, t.Attempt.finished, t.Attempt.slots)
    .add_columns(t.Task.name.label("task"), t.Task.params.is_not(None).label("item"), t.Step.name.label("step_name"))
    .add_columns(t.Job.kind, t.Job.name, t.Job.owner, t.Job.lane, t.Job.submitted)
    .join(t.Task, (t.Task.job == t.Attempt.job) & (t.Task.number == t.Attempt.number))
    .join(t.Step, (t.Step.job == t.Task.job) & (t.Step.ordinal == t.Task.step))
    .join(t.Job, t.Job.id == t.Attempt.job)
    .where(_SINCE, t.Attempt.state.in_([AttemptState.SUCCEEDED, AttemptState.FAILED]))
    .where(t.Attempt.started.is_not(None), t.Attempt.finished.is_not(None))
    .order_by(t.Attempt.job, t.Attempt.number, t.Attempt.ordinal)
    .limit(MOST_JOBS + 1)
)
_STEPS = select(t.Step.job, t.Step.ordinal, t.Step.name, t.Step.template).join(t.Job, t.Job.id == t.Step.job)
_JOBS_BEFORE = select(t.JobEdge.job, t.JobEdge.before).join(t.Job, t.Job.id == t.JobEdge.job).where(_SINCE)
_TASKS_BEFORE = (
    select(t.TaskEdge.job, t.TaskEdge.number, t.TaskEdge.before).join(t.Job, t.Job.id == t.TaskEdge.job).where(_SINCE)
)
_LIVES = select(t.Executor.ordered, t.Executor.ended, t.Executor.pool, t.Executor.price_nano).where(
    t.Executor.ordered >= bindparam("since", type_=t.Utc())
)


@dataclass(frozen=True, slots=True)
class Past:
    """`lived`: what the farm really paid and how long it really took, by the names of a replay's score."""

    jobs: Sequence[Job]
    lived: Mapping[str, Any]


def past(tx: Connection, config: FarmConfig, span: timedelta, now: datetime) -> Past:
    """What was submitted within this time and has run. Raises Refusal where nothing was, or too much."""
    since = now - min(span, now - EPOCH)
    rows = tx.execute(_RAN, {"since": since}).all()
    if not rows:
        raise Refusal("nothing that was submitted in this time has run", "--history", "choose a longer time")
    if len(rows) > MOST_JOBS:
        raise Refusal(f"more than {MOST_JOBS:,} attempts ran in this time", "--history", "choose a shorter time")
    arrivals = [*Ready(tx, since, rows).arrivals(rows)]
    found = sorted(zip(arrivals, rows, strict=True), key=lambda pair: pair[0])
    jobs = [job for arrival, row in found for job in _jobs(arrival, row)]
    numbered = [job._replace(number=number) for number, job in enumerate(jobs)]
    waits = sorted((micros(row.started) - arrival) / SECOND for arrival, row in found)
    return Past(numbered, _lived(tx, config, since, now, waits, numbered))


def _jobs(arrival: int, row: AnyRow) -> Iterator[Job]:
    """A task of several slots is as many of one: a replay gives each a slot."""
    took = max(1000, micros(row.finished) - micros(row.started))
    name = what(row.kind, row.name, row.step_name, row.task if row.item else "")
    for _ in range(row.slots):
        yield Job(0, arrival, took, name, row.owner, row.lane)


@dataclass(slots=True)
class Ready:
    """When attempts could have begun: after their submission, what they wait for, and the try before them."""

    tx: Connection
    since: datetime
    rows: Sequence[AnyRow]
    job: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # when all of it that ran had ended
    step: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    task: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        for row in self.rows:
            end = micros(row.finished)
            self.job[row.job] = max(self.job[row.job], end)
            self.step[row.job, row.step] = max(self.step[row.job, row.step], end)
            self.task[row.job, row.number] = max(self.task[row.job, row.number], end)

    def arrivals(self, rows: Sequence[AnyRow]) -> Iterator[int]:
        steps, after_jobs, after_tasks = self._steps(), self._after_jobs(), self._after_tasks()
        before: tuple[int, int, int] | None = None  # job, task, end of its try before
        for row in rows:
            key = row.job, row.number
            again = before[2] if before and before[:2] == key else 0
            waited = max(after_jobs[row.job], steps.get((row.job, row.step), 0), after_tasks[key], again)
            before = *key, micros(row.finished)
            yield min(max(micros(row.submitted), waited), micros(row.started))

    def _steps(self) -> dict[tuple[int, int], int]:
        """Step → when the steps that it comes after had ended."""
        found = self.tx.execute(_STEPS.where(_SINCE), {"since": self.since}).all()
        places = {(row.job, row.name): row.ordinal for row in found}
        names = {(row.job, row.ordinal): row.template.get("after", ()) for row in found}
        return {
            key: max((self.step.get((key[0], places.get((key[0], name), -1)), 0) for name in after), default=0)
            for key, after in names.items()
            if after
        }

    def _after_jobs(self) -> dict[int, int]:
        found: dict[int, int] = defaultdict(int)
        for row in self.tx.execute(_JOBS_BEFORE, {"since": self.since}):
            found[row.job] = max(found[row.job], self.job.get(row.before, 0))
        return found

    def _after_tasks(self) -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = defaultdict(int)
        for row in self.tx.execute(_TASKS_BEFORE, {"since": self.since}):
            key = row.job, row.number
            found[key] = max(found[key], self.task.get((row.job, row.before), 0))
        return found


# ── as it was ──


def _lived(
    tx: Connection, config: FarmConfig, since: datetime, now: datetime, waits: Sequence[float], jobs: Sequence[Job]
) -> dict[str, Any]:
    lives = tx.execute(_LIVES, {"since": since}).all()
    spans = [(micros(row.ordered), micros(row.ended or now)) for row in lives]
    least = {name: pool.min_bill.total_seconds() * SECOND for name, pool in config.pools.items()}
    paid = [max(least.get(row.pool, 0), end - start) for row, (start, end) in zip(lives, spans, strict=True)]
    cost = sum(each * row.price_nano for each, row in zip(paid, lives, strict=True)) / 3_600e6 / 1e9
    work, ends = sum(job.duration for job in jobs), max(job.arrival + job.duration for job in jobs)
    return {
        "name": AS_IT_WAS,
        "cost_ratio": round(sum(paid) / work, 5),
        "paid_machine_s": round(sum(paid) / SECOND, 1),
        "cost": round(cost, 4),
        "wait_p50": round(percentile(waits, 0.5), 3),
        "wait_p95": round(percentile(waits, 0.95), 3),
        "wait_max": round(waits[-1], 3),
        "wait_p95_by_class": {},
        "wait_max_by_class": {},
        "launches": len(lives),
        "peak": _peak(spans),
        "zero_after_s": None,
        "makespan_s": round((ends - jobs[0].arrival) / SECOND, 3),
        "decision_ms_p99": None,
        "seconds_to_run": None,
    }


def _peak(spans: Sequence[tuple[int, int]]) -> int:
    """At most at once."""
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    level = most = 0
    for _, change in edges:
        level += change
        most = max(most, level)
    return most


# ── its pools ──


def offers(tx: Connection, config: FarmConfig) -> list[Offer]:
    """The pools of farm.toml, with boots as long as they were learned to be."""
    return [_offer(tx, name, pool) for name, pool in config.pools.items() if pool.ceiling_slots >= pool.slots]


def _offer(tx: Connection, name: str, pool: PoolConfig) -> Offer:
    fact = pool_fact(tx, name)
    boot = fact.boot_s if fact.boots else pool.boot.total_seconds()
    least = pool.min_bill.total_seconds()
    price = float(pool.price_per_hour)
    return Offer(name, round(boot * SECOND), round(least * SECOND), pool.ceiling_slots, pool.slots, price)
