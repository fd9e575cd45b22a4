"""What follows when tasks end: counters, dependants, the end of steps and jobs, and the jobs behind them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, select, update
from sqlalchemy import text as sql

from farm import bulk
from farm import tables as t
from farm.model import JobState, TaskState
from farm.tables import AnyRow

ENDED = (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED)
GOOD = (TaskState.DONE, TaskState.SKIPPED)
_TOGETHER = 500  # numbers in one question

_COUNT = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"))
    .values(
        running=t.Job.running + bindparam("d_running"),
        done=t.Job.done + bindparam("d_done"),
        failed=t.Job.failed + bindparam("d_failed"),
        cancelled=t.Job.cancelled + bindparam("d_cancelled"),
        skipped=t.Job.skipped + bindparam("d_skipped"),
        changes=t.Job.changes + 1,
    )
    .returning(t.Job)
)
_STEP_COUNT = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))
    .values(left=t.Step.left - bindparam("ended"), bad=t.Step.bad + bindparam("worse"))
    .returning(t.Step.left)
)
_STEPS = select(t.Step).where(t.Step.job == bindparam("j")).order_by(t.Step.ordinal)
_STEP_STATE = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))
    .values(state=bindparam("to"), waits=bindparam("w"))
)
_FREE_ITEMS = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.step == bindparam("o"), sql(t.TASK_OPEN))
    .where(t.Task.state == TaskState.BLOCKED, t.Task.waits == 0)
    .values(state=TaskState.READY)
)
_EDGES = (
    select(t.TaskEdge.number, t.TaskEdge.before)
    .where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.before.in_(bindparam("numbers", expanding=True)))
    .order_by(t.TaskEdge.before)  # else, and for a single number too, SQLite reads all edges of the job
)
_DEPENDANTS = (
    select(t.Task.job, t.Task.number, t.Task.step, t.Task.waits, t.Step.waits.label("step_waits"))
    .join(t.Step, and_(t.Step.job == t.Task.job, t.Step.ordinal == t.Task.step))
    .where(t.Task.job == bindparam("j"), t.Task.number.in_(bindparam("numbers", expanding=True)))
    .where(t.Task.state == TaskState.BLOCKED)
)
_PARAMS = select(t.Task.params).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
_NEWER = select(t.Task.outputs, t.Task.params).where(
    t.Task.job == bindparam("j"),
    t.Task.number.in_(
        select(t.TaskEdge.before).where(t.TaskEdge.job == bindparam("j"), t.TaskEdge.number == bindparam("n"))
    ),
)
_FIRST_ITEMS = select(t.Task.job, t.Task.number, t.Task.step, t.Task.params).where(
    t.Task.job == bindparam("j"), t.Task.waits == 0, t.Task.params.is_not(None)
)
_UNBLOCK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.BLOCKED)
    .values(
        waits=t.Task.waits - bindparam("less"),
        state=case(
            (and_(t.Task.waits == bindparam("less"), bindparam("free") == 1), TaskState.READY), else_=TaskState.BLOCKED
        ),
    )
)
_SKIP = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"))
    .where(t.Task.state.in_([TaskState.BLOCKED, TaskState.READY]))
    .values(state=TaskState.SKIPPED, cause=bindparam("c"), outputs=bindparam("out"), finished=bindparam("at"))
)
_SKIP_REST = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.step == bindparam("o"), sql(t.TASK_OPEN))
    .values(state=TaskState.SKIPPED, cause="needs", finished=bindparam("at"))
)
_FINISH = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"), t.Job.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.HELD]))
    .values(state=bindparam("to"), finished=bindparam("at"), why=bindparam("reason"))
)
_BEHIND = (
    select(t.JobEdge.job, t.Job.state)
    .join(t.Job, t.Job.id == t.JobEdge.job)
    .where(t.JobEdge.before == bindparam("j"), t.Job.state.in_([JobState.QUEUED, JobState.HELD]))
)
_STAMP = (
    update(t.Task).where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n")).values(changed=bindparam("c"))
)


@dataclass(frozen=True, slots=True)
class End:
    """A task that has just come into a final state (its row says so already)."""

    job: int
    number: int
    step: int
    state: TaskState
    was_running: bool = True
    item: bool = False  # other tasks may wait for it
    rows: int = 1  # a whole step without rows counts as many, as do tasks that ended together
    stamped: bool = False  # its row has the number of this change already, or it stands for tasks that are not told
    needs: bool = False  # skipped because something before it ended badly

    @property
    def bad(self) -> bool:
        return self.needs or self.state not in GOOD


@dataclass(slots=True)
class Changed:
    """Jobs that moved, and those that ended, for whoever waits."""

    jobs: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    def join(self, other: "Changed") -> None:
        self.jobs |= other.jobs
        self.ended |= other.ended


def account(tx: Connection, ends: Sequence[End], now: datetime) -> Changed:
    """Everything that follows from these ends, and from what follows."""
    changed = Changed()
    todo = list(ends)
    while todo:
        following: list[End] = []
        for job, group in _by_job(todo).items():
            changed.jobs.add(job)
            row = _count(tx, job, group)
            following += _dependants(tx, group, now)
            following += _steps(tx, job, group, now)
            if row.done + row.failed + row.cancelled + row.skipped == row.total:
                following += _end_job(tx, row, changed, now)
        todo = following
    return changed


def _by_job(ends: Iterable[End]) -> dict[int, list[End]]:
    out: dict[int, list[End]] = defaultdict(list)
    for end in ends:
        out[end.job].append(end)
    return out


def _count(tx: Connection, job: int, ends: Sequence[End]) -> AnyRow:
    counts = Counter[TaskState]()
    for end in ends:
        counts[end.state] += end.rows
    delta = {f"d_{state}": counts[state] for state in ENDED}
    row: AnyRow = tx.execute(
        _COUNT, {"j": job, "d_running": -sum(e.rows for e in ends if e.was_running), **delta}
    ).one()
    if stamps := [{"j": job, "n": e.number, "c": row.changes} for e in ends if not e.stamped]:
        bulk.execute(tx, _STAMP, stamps)
    return row


def _dependants(tx: Connection, ends: Sequence[End], now: datetime) -> list[End]:
    """Items behind these: freed when all they wait for is good, skipped when not, or when nothing came out new."""
    items = {end.number: end for end in ends if end.item}
    before: dict[int, list[End]] = defaultdict(list)
    for numbers in _parts(items):
        for edge in tx.execute(_EDGES, {"j": ends[0].job, "numbers": [0, *numbers]}):
            before[edge.number].append(items[edge.before])
    out: list[End] = []
    for numbers in _parts(before):
        rows = tx.execute(_DEPENDANTS, {"j": ends[0].job, "numbers": numbers}).all()
        out += _let_go(tx, rows, before, now)
    return out


def _parts(numbers: Collection[int]) -> Iterator[list[int]]:
    listed = list(numbers)
    return (listed[at : at + _TOGETHER] for at in range(0, len(listed), _TOGETHER))


def _let_go(tx: Connection, rows: Sequence[AnyRow], before: Mapping[int, Sequence[End]], now: datetime) -> list[End]:
    out: list[End] = []
    less: list[dict[str, int]] = []
    for row in rows:
        ended = before[row.number]
        if any(end.bad for end in ended):
            out += _skip(tx, row, "needs", None, now)
        elif row.waits == len(ended) and (unchanged := _nothing_new(tx, row)) is not None:
            out += _skip(tx, row, "unchanged", unchanged.get("previous"), now)
        else:
            less.append({"j": row.job, "n": row.number, "less": len(ended), "free": int(row.step_waits == 0)})
    if less:
        bulk.execute(tx, _UNBLOCK, less)
    return out


def _skip(tx: Connection, row: AnyRow, cause: str, outputs: Any, now: datetime) -> list[End]:
    changed = tx.execute(_SKIP, {"j": row.job, "n": row.number, "c": cause, "out": outputs, "at": now}).rowcount
    if not changed:
        return []
    end = End(row.job, row.number, row.step, TaskState.SKIPPED, False, item=True, needs=cause == "needs")
    return [end]


def skip_unchanged(tx: Connection, job: int, now: datetime) -> Changed:
    """Items of a new job that did not change and come after nothing: no executor is asked for them."""
    idle = [row for row in tx.execute(_FIRST_ITEMS, {"j": job}) if not row.params.get("changed", True)]
    return account(tx, [e for row in idle for e in _skip(tx, row, "unchanged", row.params.get("previous"), now)], now)


def _nothing_new(tx: Connection, row: AnyRow) -> Mapping[str, Any] | None:
    """Its parameters, if its own source did not change and all it comes after came out byte for byte as before."""
    params: Mapping[str, Any] | None = tx.execute(_PARAMS, {"j": row.job, "n": row.number}).scalar_one()
    if params is None or params.get("changed", True):
        return None
    before = tx.execute(_NEWER, {"j": row.job, "n": row.number}).all()
    new = any(_content(b.outputs) != _content((b.params or {}).get("previous")) for b in before)
    return None if new else params


def _content(files: Any) -> list[tuple[str, str]]:
    return sorted((f["path"].rsplit("/", 1)[-1], f["digest"]) for f in files or ())


def _steps(tx: Connection, job: int, ends: Sequence[End], now: datetime) -> list[End]:
    ended: list[int] = []
    for ordinal in dict.fromkeys(e.step for e in ends):
        mine = [e for e in ends if e.step == ordinal]
        worse = sum(e.rows for e in mine if e.bad)
        rows = sum(e.rows for e in mine)
        if not tx.execute(_STEP_COUNT, {"j": job, "o": ordinal, "ended": rows, "worse": worse}).scalar_one():
            ended.append(ordinal)
    return _behind_steps(tx, job, ended, now) if ended else []


def _behind_steps(tx: Connection, job: int, ended: Sequence[int], now: datetime) -> list[End]:
    steps = tx.execute(_STEPS, {"j": job}).all()
    out: list[End] = []
    for step in (s for s in steps if s.ordinal in ended):
        tx.execute(_STEP_STATE, {"j": job, "o": step.ordinal, "to": "ended", "w": 0})
        for behind in (s for s in steps if step.name in s.template.get("after", ()) and s.state == "blocked"):
            if step.bad:
                out += _skip_step(tx, behind, now)
            else:
                free_step(tx, job, behind.ordinal)
    return out


_WAITS_LESS = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"), t.Step.state == "blocked")
    .values(waits=t.Step.waits - 1)
    .returning(t.Step.waits)
)


def free_step(tx: Connection, job: int, ordinal: int) -> None:
    """One thing less that the step waits for; ready when it was the last."""
    if tx.execute(_WAITS_LESS, {"j": job, "o": ordinal}).scalar_one_or_none() == 0:
        tx.execute(_STEP_STATE, {"j": job, "o": ordinal, "to": "ready", "w": 0})
        tx.execute(_FREE_ITEMS, {"j": job, "o": ordinal})


def _skip_step(tx: Connection, step: AnyRow, now: datetime) -> list[End]:
    tx.execute(_STEP_STATE, {"j": step.job, "o": step.ordinal, "to": "ended", "w": 0})
    tx.execute(_SKIP_REST, {"j": step.job, "o": step.ordinal, "at": now})
    first, rows = step.first_number, step.left
    return [End(step.job, first, step.ordinal, TaskState.SKIPPED, False, rows=rows, needs=True, stamped=True)]


def _end_job(tx: Connection, row: AnyRow, changed: Changed, now: datetime) -> list[End]:
    state = JobState.FAILED if row.failed else JobState.CANCELLED if row.cancelled else JobState.DONE
    if not tx.execute(_FINISH, {"j": row.id, "to": state, "at": now, "reason": row.why}).rowcount:
        return []
    changed.ended.add(row.id)
    out: list[End] = []
    for behind in tx.execute(_BEHIND, {"j": row.id}).all():
        changed.jobs.add(behind.job)
        if state == JobState.DONE:
            for step in tx.execute(_STEPS, {"j": behind.job}).all():
                free_step(tx, behind.job, step.ordinal)
        else:
            out += give_up(tx, behind.job, f"job {row.id}, which it comes after, {_ended(state)}", changed, now)
    return out


def _ended(state: JobState) -> str:
    return "failed" if state == JobState.FAILED else "was cancelled"


_WHY = update(t.Job).where(t.Job.id == bindparam("j")).values(why=bindparam("w"))
_CANCEL_TASKS = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.step == bindparam("o"), sql(t.TASK_OPEN))
    .values(state=TaskState.CANCELLED, cause="cancelled", finished=bindparam("at"))
)
_HAND_OUT_ALL = (
    update(t.Step).where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o")).values(next=t.Step.total)
)


def give_up(tx: Connection, job: int, why: str, changed: Changed, now: datetime) -> list[End]:
    """Cancel everything of a job that has not started; what to account for."""
    changed.jobs.add(job)
    tx.execute(_WHY, {"j": job, "w": why})
    out: list[End] = []
    for step in tx.execute(_STEPS, {"j": job}).all():
        if step.state == "ended":
            continue
        rows = tx.execute(_CANCEL_TASKS, {"j": job, "o": step.ordinal, "at": now}).rowcount
        rows += max(0, step.total - step.next - step.early)  # below 0 where all was given up once before
        tx.execute(_HAND_OUT_ALL, {"j": job, "o": step.ordinal})
        if rows:
            number = step.first_number
            out.append(End(job, number, step.ordinal, TaskState.CANCELLED, False, rows=rows, stamped=True))
    return out
