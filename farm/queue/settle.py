"""What executors report, made true: attempts end, results are accepted by token only, tasks go on, again or out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, insert, or_, select, update

from executors.contract import Event
from farm import bulk
from farm import tables as t
from farm.clock import from_nanos
from farm.model import AttemptState, JobState, TaskState
from farm.queue import endings, predict, successes
from farm.queue.progress import Changed, End, account
from farm.queue.successes import Outcome
from farm.queue.verdict import LOSSES, Verdict, lost_too_often, verdict
from farm.reference import Reference, parse_reference
from farm.tables import AnyRow

_ACTIVE = (AttemptState.CLAIMED, AttemptState.STARTED)
_FLYING = (
    select(
        t.Attempt.job,
        t.Attempt.number,
        t.Attempt.ordinal,
        t.Attempt.token,
        t.Attempt.slots,
        t.Attempt.executor,
        t.Attempt.state.label("attempt_state"),
        t.Attempt.started,
        t.Task.step,
        t.Task.failures,
        t.Task.losses,
        t.Task.licences,
        t.Task.licence_since,
        t.Task.grown,
        t.Task.memory.label("task_memory"),
        t.Task.failed_on,
        t.Task.attempts,
        t.Task.state,
        t.Task.name.label("task_name"),
        t.Task.params.is_not(None).label("item"),
        t.Step.retries,
        t.Step.memory,
        t.Step.licence_exit,
        t.Step.licence_wait_s,
        t.Step.name.label("step_name"),
        t.Job.kind,
        t.Job.name.label("job_name"),
    )
    .join(t.Task, and_(t.Task.job == t.Attempt.job, t.Task.number == t.Attempt.number))
    .join(t.Step, and_(t.Step.job == t.Task.job, t.Step.ordinal == t.Task.step))
    .join(t.Job, t.Job.id == t.Attempt.job)
)
_BY_NUMBER = _FLYING.where(
    t.Attempt.job == bindparam("j"),
    t.Attempt.number.in_(bindparam("numbers", expanding=True, literal_execute=True)),
    t.Attempt.state.in_(_ACTIVE),
)
_BY_EXECUTOR = _FLYING.where(t.Attempt.executor == bindparam("e"), t.Attempt.state.in_(_ACTIVE))
_START = (
    update(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o"))
    .where(t.Attempt.token == bindparam("t"), t.Attempt.state == AttemptState.CLAIMED)
    .values(state=AttemptState.STARTED, started=bindparam("at"), spool=bindparam("s"), lo=bindparam("l"))
)
_START_TASK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.RUNNING)
    .values(started=bindparam("at"))
)
_END_ATTEMPT = (
    update(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o"))
    .where(t.Attempt.token == bindparam("t"))
    .where(
        or_(t.Attempt.state == AttemptState.CLAIMED, t.Attempt.state == AttemptState.STARTED)
    )  # IN forbids many rows
    .values(
        state=bindparam("to"),
        started=bindparam("from_"),
        finished=bindparam("at"),
        exit=bindparam("x"),
        cause=bindparam("c"),
        message=bindparam("m"),
        cpu_ms=bindparam("cpu"),
        rss_kib=bindparam("rss"),
        spool=bindparam("s"),
        lo=bindparam("l"),
        hi=bindparam("h"),
    )
)
_LOSE_ATTEMPT = (
    update(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o"))
    .where(t.Attempt.state.in_(_ACTIVE))
    .values(state=bindparam("to"), finished=bindparam("at"), cause=bindparam("c"), message=bindparam("m"))
)
_END_TASK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.RUNNING)
    .values(
        state=bindparam("to"),
        accepted=bindparam("a"),
        outputs=bindparam("out"),
        exit=bindparam("x"),
        cause=bindparam("c"),
        message=bindparam("m"),
        cpu_ms=bindparam("cpu"),
        rss_kib=bindparam("rss"),
        started=bindparam("from_"),
        finished=bindparam("at"),
        failures=t.Task.failures + bindparam("f"),
        failed_on=bindparam("on"),
    )
)
_AGAIN = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.RUNNING)
    .values(
        state=TaskState.READY,
        started=None,
        exit=bindparam("x"),
        cause=bindparam("c"),
        message=bindparam("m"),
        failures=t.Task.failures + bindparam("f"),
        losses=t.Task.losses + bindparam("lost"),
        licences=t.Task.licences + bindparam("lic"),
        licence_since=bindparam("ls"),
        grown=t.Task.grown + bindparam("g"),
        memory=bindparam("mem"),
        not_before=bindparam("nb"),
        failed_on=bindparam("on"),
    )
)
_LOST = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.RUNNING)
    .values(state=TaskState.READY, started=None, exit=None, cause=bindparam("c"), message=bindparam("m"))
    .values(losses=t.Task.losses + bindparam("lost"))
)
_LESS_RUNNING = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"))
    .values(
        running=t.Job.running - bindparam("k"),
        changes=t.Job.changes + 1,
        state=case(
            (and_(t.Job.running == bindparam("k"), t.Job.state == JobState.RUNNING), JobState.QUEUED),
            else_=t.Job.state,
        ),
    )
)
_THIS = (
    t.Attempt.job == bindparam("j"),
    t.Attempt.number == bindparam("n"),
    t.Attempt.ordinal == bindparam("o"),
    t.Attempt.token == bindparam("t"),
)
_LOG_RANGE = update(t.Attempt).where(*_THIS).values(spool=bindparam("s"), lo=bindparam("l"), hi=bindparam("h"))
_ENDED_STATE = select(t.Attempt.state).where(*_THIS)
_REFUSE = insert(t.Refused)


@dataclass(slots=True)
class Settled:
    """What a batch of reports did."""

    changed: Changed = field(default_factory=Changed)
    freed: Counter[str] = field(default_factory=Counter)  # executor → slots
    returned: bool = False  # something is free again that an attempt held beyond its end
    seconds: dict[tuple[int, int], list[float]] = field(default_factory=lambda: defaultdict(list))  # (job, step) → took
    accepted: list[tuple[int, int]] = field(default_factory=list)  # (job, number) with outputs to publish
    outcomes: list[Outcome] = field(default_factory=list)  # what speaks for and against executors


def started(tx: Connection, events: Iterable[Event]) -> set[int]:
    """Claimed attempts that run now; the jobs they belong to."""
    rows = [_start_row(e) for e in events]
    if rows:
        bulk.execute(tx, _START, rows)
        bulk.execute(tx, _START_TASK, rows)
    return {r["j"] for r in rows}


def _start_row(e: Event) -> dict[str, Any]:
    ref = parse_reference(e.attempt)
    at = from_nanos(e.at)
    return {"j": ref.job, "n": ref.number, "o": ref.ordinal, "t": e.token, "at": at, "s": e.spool, "l": e.lo}


def finished(tx: Connection, reports: Sequence[tuple[str, Event]], now: datetime, most_memory: int = 0) -> Settled:
    """End attempts by (executor, finished event). A result without a living attempt behind it is kept as evidence.

    `most_memory`: bytes of the largest executor of any pool; 0 is unknown.
    """
    out = Settled()
    by_job: dict[int, list[tuple[Reference, str, Event]]] = defaultdict(list)
    for executor, event in reports:
        ref = Reference(*map(int, event.attempt.split(".")))  # no person wrote it: it is in order
        by_job[ref.job].append((ref, executor, event))
    ends: list[End] = []
    for job, group in by_job.items():
        rest, done = successes.take(tx, job, group, out)
        ends += done
        if rest:
            ends += _finish_job(tx, _Batch(tx, job, now, most_memory), rest, out)
        out.changed.jobs.add(job)
    out.changed.join(account(tx, ends, now))
    return out


def _finish_job(
    tx: Connection, batch: "_Batch", group: Sequence[tuple[Reference, str, Event]], out: Settled
) -> list[End]:
    job = batch.job
    rows = tx.execute(_BY_NUMBER, {"j": job, "numbers": [ref.number for ref, _, _ in group]}).all()
    flying = {(r.number, r.ordinal, r.token, r.executor): r for r in rows}
    for ref, executor, event in group:
        row = flying.pop((ref.number, ref.ordinal, event.token, executor), None)
        if row is None:
            _late(tx, ref, executor, event, batch.now)
            out.returned |= endings.ended(tx, ref, event.token)
            continue
        out.freed[executor] += row.slots
        found = batch.add(row, event)
        if found.real or found.state == AttemptState.SUCCEEDED:
            good = not found.real
            out.outcomes.append(
                Outcome(executor, event.seq, job, row.step, event.attempt, good, event.exit, event.cause)
            )
        if event.cause == "" and event.started:
            out.seconds[(job, row.step)].append((event.at - event.started) / 1e9)
    out.accepted += [(job, e.number) for e in batch.ends if e.state == TaskState.DONE and e.item]
    return batch.write()


class _Batch:
    """Updates of one job, gathered so that each statement runs once."""

    def __init__(self, tx: Connection, job: int, now: datetime, most_memory: int) -> None:
        self.tx, self.job, self.now, self.most_memory = tx, job, now, most_memory
        self.attempts: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.again: list[dict[str, Any]] = []
        self.ends: list[End] = []
        self.took: dict[tuple[str, str], float] = {}

    def add(self, row: AnyRow, event: Event) -> Verdict:
        found = verdict(row, event, self.now, self.most_memory)
        ended = _ended_row(row, event, found)
        self.attempts.append(ended)
        if found.again:
            self.again.append(ended | _another(found))
        else:
            to = TaskState.DONE if found.state == AttemptState.SUCCEEDED else TaskState.FAILED
            self._over(row, event, ended | {"f": found.failed, "on": found.failed_on}, to)
        return found

    def _over(self, row: AnyRow, event: Event, ended: dict[str, Any], state: TaskState) -> None:
        files = [asdict(o) for o in event.outputs] if event.outputs else None
        accepted = row.ordinal if state == TaskState.DONE else None
        self.tasks.append(ended | {"to": state, "a": accepted, "out": files})
        self.ends.append(End(row.job, row.number, row.step, state, item=bool(row.item)))
        if state == TaskState.DONE and event.started:
            item = row.task_name if row.item else ""
            name = predict.what(row.kind, row.job_name, row.step_name, item)
            self.took[name, row.executor] = (event.at - event.started) / 1e9

    def write(self) -> list[End]:
        if self.attempts:
            bulk.execute(self.tx, _END_ATTEMPT, self.attempts)
        if self.tasks:
            bulk.execute(self.tx, _END_TASK, self.tasks)
        if self.again:
            bulk.execute(self.tx, _AGAIN, self.again)
            self.tx.execute(_LESS_RUNNING, {"j": self.job, "k": len(self.again)})
        predict.learn(self.tx, self.took)
        return self.ends


def _another(found: Verdict) -> dict[str, Any]:
    """What the next attempt of a task starts from."""
    counts = {"f": found.failed, "lost": found.lost, "lic": found.licences, "g": found.grown}
    pause = {"nb": found.not_before, "ls": found.licence_since}
    return {**counts, **pause, "mem": found.memory, "on": found.failed_on}


def _ended_row(row: AnyRow, event: Event, found: Verdict) -> dict[str, Any]:
    return {
        "j": row.job,
        "n": row.number,
        "o": row.ordinal,
        "t": row.token,
        "to": found.state,
        "from_": from_nanos(event.started) if event.started else row.started,
        "at": from_nanos(event.at),
        "x": event.exit,
        "c": found.cause,
        "m": found.message,
        "cpu": event.cpu_ms,
        "rss": event.rss_kib,
        "s": event.spool,
        "l": event.lo,
        "h": event.hi,
    }


def _late(tx: Connection, ref: Reference, executor: str, event: Event, now: datetime) -> None:
    """The end of an attempt that has ended for us: its log is worth having, its result is not."""
    key = {"j": ref.job, "n": ref.number, "o": ref.ordinal, "t": event.token}
    tx.execute(_LOG_RANGE, {**key, "s": event.spool, "l": event.lo, "h": event.hi})
    cancelled = tx.execute(_ENDED_STATE, key).scalar_one_or_none() == AttemptState.CANCELLED
    if not cancelled or event.cause != "cancelled":  # that it ended as it was told is no news
        kept = {k: v for k, v in asdict(event).items() if k not in ("data", "kind")}
        tx.execute(_REFUSE, {"at": now, "executor": executor, "attempt": event.attempt, "event": kept})


def lose(tx: Connection, executor: str, why: str, now: datetime, charged: bool = True) -> Settled:
    """Its executor is gone: its attempts are lost, its tasks go back (free, but capped when `charged`)."""
    return _lose(tx, tx.execute(_BY_EXECUTOR, {"e": executor}).all(), why, now, charged)


def lose_some(tx: Connection, refs: Sequence[Reference], why: str, now: datetime) -> Settled:
    """Attempts nobody knows of any more; not charged."""
    wanted = {(r.job, r.number, r.ordinal) for r in refs}
    rows: list[AnyRow] = []
    for job in {r.job for r in refs}:
        numbers = [r.number for r in refs if r.job == job]
        rows += tx.execute(_BY_NUMBER, {"j": job, "numbers": numbers}).all()
    return _lose(tx, [r for r in rows if (r.job, r.number, r.ordinal) in wanted], why, now, charged=False)


def _lose(tx: Connection, rows: Sequence[AnyRow], why: str, now: datetime, charged: bool) -> Settled:
    out = Settled()
    ends: list[End] = []
    for row in rows:
        key: Mapping[str, Any] = {"j": row.job, "n": row.number, "o": row.ordinal}
        end = {**key, "to": AttemptState.LOST, "at": now, "c": "lost", "m": why}
        tx.execute(_LOSE_ATTEMPT, end)
        out.freed[row.executor] += row.slots
        out.changed.jobs.add(row.job)
        if row.losses + charged <= LOSSES:
            tx.execute(_LOST, {**end, "lost": int(charged)})
            tx.execute(_LESS_RUNNING, {"j": row.job, "k": 1})
        else:
            message = lost_too_often(row.losses + 1, why)
            nothing = {"a": None, "out": None, "x": None, "cpu": 0, "rss": 0, "from_": row.started}
            nothing |= {"f": 0, "on": row.failed_on}
            tx.execute(_END_TASK, {**end, **nothing, "to": TaskState.FAILED, "m": message})
            ends.append(End(row.job, row.number, row.step, TaskState.FAILED, item=bool(row.item)))
    out.changed.join(account(tx, ends, now))
    return out
