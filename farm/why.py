"""Why something is as it is: cause, rule, numbers, next event, as data; a sentence made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select

from farm import read
from farm import tables as t
from farm.config import FarmConfig
from farm.durations import format_duration
from farm.fleet import pool_fact
from farm.model import ExecutorState, JobState, OrderState, TaskState
from farm.observe import observe
from farm.reference import Reference
from farm.refusal import NotFound
from farm.tables import AnyRow
from schedules.model import Snapshot
from schedules.policy import default
from schedules.windows import hours

_STEPS = select(t.Step).where(t.Step.job == bindparam("j")).order_by(t.Step.ordinal)
_OPEN_BEFORE = (
    select(t.Job.id, t.Job.state)
    .join(t.JobEdge, t.JobEdge.before == t.Job.id)
    .where(t.JobEdge.job == bindparam("j"), t.Job.state != JobState.DONE)
    .order_by(t.Job.id)
)
_TASKS_BEFORE = (
    select(t.Task.number, t.Task.name, t.Task.state)
    .join(t.TaskEdge, and_(t.TaskEdge.job == t.Task.job, t.TaskEdge.before == t.Task.number))
    .where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.number == bindparam("n"))
    .where(t.Task.state.not_in([TaskState.DONE, TaskState.SKIPPED]))
    .order_by(t.Task.number)
)
_TASK = select(t.Task).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_FIRST_FAILED = (
    select(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.state == TaskState.FAILED)
    .order_by(t.Task.number)
    .limit(1)
)
_AHEAD = select(func.coalesce(func.sum(t.Step.total - t.Step.next), 0)).where(
    t.Step.state == "ready", t.Step.due < bindparam("d")
)
_EXECUTOR = select(t.Executor).where(t.Executor.id == bindparam("e"))
_LAST_REFUSED = (
    select(t.Order)
    .where(t.Order.pool == bindparam("p"), t.Order.state == OrderState.REFUSED)
    .order_by(t.Order.created.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Why:
    """`cause` is a word for programs, `rule` what decides, `numbers` what it decided on, `next` what will change it."""

    about: str
    state: str
    cause: str
    rule: str
    sentence: str
    next: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


class Explainer:
    """Looks at one moment of the farm."""

    def __init__(self, tx: Connection, config: FarmConfig, now: datetime, running: bool) -> None:
        self._tx, self._config, self._now, self._running = tx, config, now, running
        self._seen: Snapshot | None = None

    # ── jobs and tasks ──

    def job(self, number: int) -> Why:
        row = read.job_row(self._tx, number)
        about = f"job {number}"
        if row.state == JobState.DONE:
            return Why(about, row.state, "done", "all tasks succeeded", f"Job {number} is done.", numbers=_ends(row))
        if row.state == JobState.FAILED:
            return self._failed_job(row)
        if row.state == JobState.CANCELLED:
            why = row.why or "cancelled by its user"
            return Why(
                about, row.state, "cancelled", why, f"Job {number} was cancelled: {why}.", f"farm retry {number}"
            )
        if row.state == JobState.HELD:
            sentence = f"Job {number} is held; nothing of it starts."
            return Why(about, row.state, "held", "held jobs wait for their release", sentence)
        if row.running:
            sentence = f"Job {number} runs: {row.running} tasks now, {row.done} of {row.total} done."
            return Why(about, row.state, "running", "some of its tasks run", sentence, "its tasks end", _ends(row))
        return self._waiting_job(row)

    def _failed_job(self, row: AnyRow) -> Why:
        task = self._tx.execute(_FIRST_FAILED, {"j": row.id}).one_or_none()
        ref = f"{row.id}.{task.number}" if task else str(row.id)
        reason = _failure(task) if task else "a task failed"
        sentence = f"Job {row.id} failed: {row.failed} of {row.total} tasks, first {ref}: {reason}."
        return Why(f"job {row.id}", row.state, "failed", reason, sentence, f"farm retry {row.id}", _ends(row))

    def _waiting_job(self, row: AnyRow) -> Why:
        before = self._tx.execute(_OPEN_BEFORE, {"j": row.id}).all()
        if before:
            names = ", ".join(f"{b.id} ({b.state})" for b in before)
            sentence = f"Job {row.id} comes after job {names}."
            return Why(
                f"job {row.id}",
                row.state,
                "after",
                "--after means after its success",
                sentence,
                f"job {before[0].id} ends",
            )
        steps = self._tx.execute(_STEPS, {"j": row.id}).all()
        ready = next((s for s in steps if s.state == "ready"), None)
        if ready is None:
            return Why(
                f"job {row.id}",
                row.state,
                "blocked",
                "its steps wait for each other",
                f"Job {row.id} is between steps.",
            )
        return self._no_slot(f"job {row.id}", row, ready)

    def task(self, ref: Reference) -> Why:
        found = read.task(self._tx, ref)
        about, state = f"task {found['ref']}", found["state"]
        if state == TaskState.RUNNING:
            sentence = f"Task {found['ref']} runs on {found['executor']} since {found['started'] or 'just now'}."
            return Why(about, state, "running", "it has a slot", sentence, "it ends")
        if state == TaskState.FAILED:
            row = self._tx.execute(_TASK, {"j": ref.job, "n": ref.number}).one()
            reason = _failure(row)
            sentence = f"Task {found['ref']} failed: {reason}."
            return Why(about, state, row.cause or "exit", reason, sentence, f"farm retry {found['ref']}", _tries(row))
        if state in (TaskState.DONE, TaskState.CANCELLED, TaskState.SKIPPED):
            return _over(found)
        if state == TaskState.BLOCKED:
            return self._blocked(ref, found)
        job = read.job_row(self._tx, ref.job)
        step = next(s for s in self._tx.execute(_STEPS, {"j": ref.job}) if s.name == found["step"])
        return self._no_slot(about, job, step)

    def _blocked(self, ref: Reference, found: Mapping[str, Any]) -> Why:
        before = self._tx.execute(_TASKS_BEFORE, {"j": ref.job, "n": ref.number}).all()
        if before:
            names = ", ".join(f"{ref.job}.{b.number} {b.name} ({b.state})" for b in before[:5])
            rule, cause = "a task starts after the tasks it needs", "needs"
        else:
            steps = self._tx.execute(_STEPS, {"j": ref.job}).all()
            names = ", ".join(f"step {s.name}" for s in steps if s.state != "ended" and s.name != found["step"])
            rule, cause = "a step starts after the steps and jobs it comes after", "after"
            names = names or "the jobs it comes after"
        sentence = f"Task {found['ref']} waits for {names}."
        return Why(
            f"task {found['ref']}", found["state"], cause, rule, sentence, "they succeed", {"waits_for": len(before)}
        )

    def _no_slot(self, about: str, job: AnyRow, step: AnyRow) -> Why:
        """It could run: what keeps it from a slot."""
        if not self._running:
            sentence = f"{about.capitalize()} waits because no farm is running."
            return Why(about, job.state, "down", "only a running farm starts work", sentence, "farm up")
        seen = self._look()
        numbers = self._supply(seen, step)
        if numbers["booting"]:
            sentence = f"{about.capitalize()} waits for an executor: {numbers['booting']} are on their way."
            return Why(
                about, job.state, "booting", "executors are ordered for it", sentence, "an executor joins", numbers
            )
        unmet = [u for u in default(seen).unmet if u.who == str(job.id)]
        if unmet:
            sentence = f"{about.capitalize()} waits: {unmet[0].why}."
            return Why(about, job.state, "unmet", unmet[0].why, sentence, "a slot or a pool becomes free", numbers)
        sentence = f"{about.capitalize()} waits for a free slot; {numbers['ahead']} tasks are due before it."
        return Why(
            about, job.state, "queue", "earliest due first, lanes by fair share", sentence, "a slot is free", numbers
        )

    def _supply(self, seen: Snapshot, step: AnyRow) -> dict[str, Any]:
        slots = sum(e.slots for e in seen.executors if e.state == "ready")
        return {
            "needs_slots": step.slots,
            "slots": slots,
            "busy": sum(e.busy_slots for e in seen.executors if e.state == "ready"),
            "booting": sum(e.state in ("ordered", "booting") for e in seen.executors),
            "ahead": int(self._tx.execute(_AHEAD, {"d": step.due}).scalar_one()),
            "due": read.when(step.due),
        }

    def _look(self) -> Snapshot:
        if self._seen is None:
            self._seen = observe(self._tx, self._config, self._now)
        return self._seen

    # ── executors and pools ──

    def executor(self, name: str) -> Why:
        row = self._tx.execute(_EXECUTOR, {"e": name}).one_or_none()
        if row is None:
            raise NotFound(f"there is no executor {name!r}", remedy="see `farm executors --all`")
        state = ExecutorState(row.state)
        since = {"ordered": read.when(row.ordered), "ready": read.when(row.ready), "ended": read.when(row.ended)}
        if state == ExecutorState.READY and row.idle_since:
            idle = (self._now - row.idle_since).total_seconds()
            sentence = f"Executor {name} is idle for {format_duration(idle)}; idle executors are sent away."
            return Why(f"executor {name}", state, "idle", "idle executors go", sentence, "its idle time ends", since)
        sentence = f"Executor {name} of pool {row.pool} is {state}: {row.why}."
        return Why(f"executor {name}", state, str(state), row.why, sentence, numbers=since)

    def pool(self, name: str) -> Why:
        pool = next((p for p in self._look().pools if p.name == name), None)
        if pool is None:
            raise NotFound(f"there is no pool {name!r}", remedy=f"there are {', '.join(self._config.pools)}")
        found = hours(pool, self._look().schedule, self._now)
        mine = [e for e in self._look().executors if e.pool == name]
        fact = pool_fact(self._tx, name)
        numbers = {
            "executors": len(mine),
            "slots": sum(e.slots for e in mine),
            "ceiling": found.ceiling,
            "floor": found.floor,
        }
        if pool.breaker_open_until and pool.breaker_open_until > self._now:
            until = read.when(pool.breaker_open_until)
            sentence = f"Pool {name} is not asked before {until}: {fact.error}."
            return Why(
                f"pool {name}", "shut", "breaker", fact.error, sentence, f"it is asked again at {until}", numbers
            )
        window = f" in window {found.window}" if found.window else ""
        sentence = f"Pool {name} has {len(mine)} executors; floor {found.floor}, ceiling {found.ceiling} slots{window}."
        refused = self._tx.execute(_LAST_REFUSED, {"p": name}).one_or_none()
        if refused is not None:
            numbers["last_refused"] = refused.error
        return Why(
            f"pool {name}",
            "open",
            "policy",
            "backlog and time of day decide",
            sentence,
            read.when(found.until) or "",
            numbers,
        )


def _ends(row: AnyRow) -> dict[str, Any]:
    return {k: getattr(row, k) for k in ("total", "done", "running", "failed", "cancelled", "skipped")}


def _tries(row: AnyRow) -> dict[str, Any]:
    return {"attempts": row.attempts, "failures": row.failures, "losses": row.losses, "exit": row.exit}


def _failure(row: AnyRow) -> str:
    if row.message:
        return str(row.message)
    if row.cause == "timeout":
        return "it ran longer than its --timeout"
    if row.exit is not None and row.exit < 0:
        return f"ended by signal {-row.exit}"
    return f"exit {row.exit}"


def _over(found: Mapping[str, Any]) -> Why:
    state, ref = found["state"], found["ref"]
    reasons = {"unchanged": "nothing it is built from changed", "needs": "something it needs did not succeed"}
    reason = reasons.get(found["cause"], "it succeeded" if state == TaskState.DONE else "it was cancelled")
    return Why(f"task {ref}", state, found["cause"] or str(state), reason, f"Task {ref} is {state}: {reason}.")
