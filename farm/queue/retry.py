"""Another chance for what failed, was cancelled, or was skipped because of that."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from sqlalchemy import Connection, bindparam, case, func, select, update
from sqlalchemy import text as sql

from farm import tables as t
from farm.model import JobState, TaskState
from farm.queue.progress import Changed
from farm.reference import Reference
from farm.refusal import Conflict, NotFound, Refusal
from farm.tables import AnyRow
from schedules.ordering import along_path

AGAIN = (TaskState.FAILED, TaskState.CANCELLED)
_DEAD = (JobState.FAILED, JobState.CANCELLED)
FORGOTTEN = (
    "a part of it is forgotten already"  # why a job is as it is: its numbers have gaps, and nothing of it goes again
)

_JOB = select(t.Job).where(t.Job.id == bindparam("j"))
_STEPS = select(t.Step).where(t.Step.job == bindparam("j")).order_by(t.Step.ordinal)
_OF_STEP = (
    t.Task.job == bindparam("j"),
    t.Task.number >= bindparam("low"),
    t.Task.number < bindparam("high"),
)
_BAD = select(t.Task).where(t.Task.job == bindparam("j"), sql(t.TASK_BAD))
_ITEMS = select(t.Task).where(*_OF_STEP)
_MADE = select(func.count()).where(*_OF_STEP)
_BEHIND = select(t.TaskEdge.number, t.TaskEdge.before).where(t.TaskEdge.job == bindparam("j"))
_RESET = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == bindparam("was"))
    .values(state=bindparam("to"), waits=bindparam("w"), cause="", message="", exit=None, finished=None)
    .values(failures=0, losses=0, licences=0, licence_since=None, not_before=None, grown=0, failed_on=None)
    .values(started=None, outputs=None, held=bindparam("h"), lane=bindparam("lane"), due=bindparam("due"))
)
_STEP = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"))
    .values(state=bindparam("to"), waits=bindparam("w"), left=bindparam("l"), bad=bindparam("b"), next=bindparam("k"))
    .values(held=bindparam("h"))
)
_REOPEN = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"), t.Job.state != JobState.DONE)
    .values(
        state=case(
            (t.Job.state == JobState.HELD, JobState.HELD),
            (t.Job.running > 0, JobState.RUNNING),
            else_=JobState.QUEUED,
        ),
        finished=None,
        why="",
        failed=t.Job.failed - bindparam("f"),
        cancelled=t.Job.cancelled - bindparam("c"),
        skipped=t.Job.skipped - bindparam("s"),
        changes=t.Job.changes + 1,
    )
)
_JOBS_BEFORE = (
    select(t.Job.id, t.Job.state)
    .join(t.JobEdge, t.JobEdge.before == t.Job.id)
    .where(t.JobEdge.job == bindparam("j"), t.Job.state != JobState.DONE)
    .order_by(t.Job.id)
)


def retry(tx: Connection, ref: Reference) -> tuple[int, Changed]:
    """A job's bad tasks, or one of them, with what was skipped because of just these; how many go again.

    Raises NotFound, Conflict when nothing can, Refusal when something it comes after is bad itself.
    """
    job = tx.execute(_JOB, {"j": ref.job}).one_or_none()
    if job is None:
        raise NotFound(f"there is no job {ref.job}", remedy="see `farm jobs`")
    if job.why == FORGOTTEN:
        raise Conflict(f"job {ref.job} ended long ago, and {FORGOTTEN}", remedy="submit it again")
    plan = _plan(tx, ref)
    if not plan.again and not any(plan.rest.values()):
        raise _nothing(ref, job, plan)
    jobs_before, held = _jobs_before(tx, ref.job), int(job.state == JobState.HELD)
    plan.check(ref)
    plan.revive()
    blocked = _reset_steps(tx, plan, jobs_before, held)
    _reset_tasks(tx, plan, blocked, held)
    _reopen(tx, ref.job, plan)
    return len(plan.again) + sum(plan.rest.values()), Changed(jobs={ref.job})


def _nothing(ref: Reference, job: AnyRow, plan: "_Plan") -> Refusal:
    """Why none of it can go again."""
    if ref.number is not None and ref.number > job.total:
        return NotFound(f"job {ref.job} has no task {ref.number}", remedy=f"see `farm show {ref.job}`")
    task = plan.tasks.get(ref.number or 0)
    if ref.number is not None and (_needs(task) if task else job.state in _DEAD):
        what = "was skipped because of others" if task else "was given up before it had begun"
        return Conflict(f"task {ref} {what}", remedy=f"retry the whole job: `farm retry {ref.job}`")
    state = task.state if task else job.state
    return Conflict(f"nothing of {ref} failed or was cancelled (it is {state})")


@dataclass(slots=True)
class _Plan:
    """A job as it is, and what of it goes again."""

    steps: Sequence[AnyRow]
    tasks: Mapping[int, AnyRow]  # of arrays those alone that did not succeed, and the one that was named
    before: Mapping[int, Sequence[int]]  # task → tasks it waits for
    again: set[int]
    untouched: Mapping[int, int]  # step → array tasks that were cancelled or skipped before they had rows
    rest: dict[int, int]  # step → how many of those go again

    def good(self, number: int) -> bool:
        """It ended well, and nothing about that changes."""
        return number not in self.again and _good(self.tasks[number])

    def bad(self, number: int) -> bool:
        """It ended badly and stays so."""
        row = self.tasks[number]
        return number not in self.again and (row.state in AGAIN or _needs(row))

    def bad_in(self, ordinal: int) -> int:
        rows = sum(r.step == ordinal and self.bad(r.number) for r in self.tasks.values())
        return int(rows + self.untouched[ordinal] - self.rest.get(ordinal, 0))

    def bad_before(self, step: AnyRow) -> bool:
        """A step that it comes after stays bad."""
        after = set(step.template.get("after", ()))
        return any(s.name in after and self.bad_in(s.ordinal) for s in self.steps)

    def check(self, ref: Reference) -> None:
        """One task can't go again when what it waits for never comes. Raises Conflict."""
        if ref.number is None:
            return
        task = self.tasks[ref.number]
        step = next(s for s in self.steps if s.ordinal == task.step)
        if self.bad_before(step) or any(self.bad(b) for b in self.before.get(ref.number, ())):
            raise Conflict(
                f"what {ref} comes after failed or was cancelled",
                remedy=f"retry the whole job: `farm retry {ref.job}`",
            )

    def revive(self) -> None:
        """Add what was skipped only because of what goes again. Steps and items come in the order in which they run."""
        skipped = [n for n in TopologicalSorter(self.before).static_order() if n in self.tasks]
        skipped += [n for n in self.tasks if n not in self.before]
        skipped = [n for n in dict.fromkeys(skipped) if _needs(self.tasks[n])]
        for step in self.steps:
            if self.bad_before(step):
                continue
            for number in (n for n in skipped if self.tasks[n].step == step.ordinal):
                if not any(self.bad(b) for b in self.before.get(number, ())):
                    self.again.add(number)
            if not _was_cancelled(step):
                self.rest[step.ordinal] = self.untouched[step.ordinal]


def _good(row: AnyRow) -> bool:
    return row.state == TaskState.DONE or (row.state == TaskState.SKIPPED and not _needs(row))


def _needs(row: AnyRow) -> bool:
    """Skipped because something before it ended badly, not because nothing changed."""
    return bool(row.state == TaskState.SKIPPED and row.cause == "needs")


def _was_cancelled(step: AnyRow) -> bool:
    """Cancelling hands out all that is left of an array; skipping a step leaves it where it was."""
    return bool(step.next == step.total)


def _plan(tx: Connection, ref: Reference) -> _Plan:
    steps = tx.execute(_STEPS, {"j": ref.job}).all()
    tasks = _tasks(tx, ref, steps)
    before: dict[int, list[int]] = defaultdict(list)
    for edge in tx.execute(_BEHIND, {"j": ref.job}):
        before[edge.number].append(edge.before)
    again = {n for n, r in tasks.items() if r.state in AGAIN and ref.number in (None, n)}
    untouched = _untouched(tx, steps)
    return _Plan(steps, tasks, dict(before), again, untouched, dict(untouched) if ref.number is None else {})


def _tasks(tx: Connection, ref: Reference, steps: Sequence[AnyRow]) -> dict[int, AnyRow]:
    """By number. Of an array a million may be done, and none of them says anything."""
    found = tx.execute(_BAD, {"j": ref.job}).all()
    ranges = [_range(step) for step in steps if step.array is None]
    if ref.number is not None:
        ranges.append({"j": ref.job, "low": ref.number, "high": ref.number + 1})
    rows = {row.number: row for about in ranges for row in tx.execute(_ITEMS, about)}
    return dict(sorted({**rows, **{row.number: row for row in found}}.items()))


def _range(step: AnyRow) -> dict[str, int]:
    return {"j": step.job, "low": step.first_number, "high": step.first_number + step.total}


def _untouched(tx: Connection, steps: Sequence[AnyRow]) -> dict[int, int]:
    """Of steps that are over how many tasks never had rows."""
    over = [step for step in steps if step.state == "ended" or _was_cancelled(step)]
    return {s.ordinal: 0 for s in steps} | {s.ordinal: s.total - _made(tx, s) for s in over}


def _made(tx: Connection, step: AnyRow) -> int:
    return int(tx.execute(_MADE, _range(step)).scalar_one())


def _jobs_before(tx: Connection, job: int) -> int:
    """How many jobs it still waits for. Raises Refusal when one of them will not come without help."""
    rows = tx.execute(_JOBS_BEFORE, {"j": job}).all()
    for row in rows:
        if row.state in _DEAD:
            raise Refusal(f"job {row.id} is {row.state}", "--after", f"type `farm retry {row.id}` first")
    return len(rows)


def _reset_tasks(tx: Connection, plan: _Plan, blocked: set[int], held: int) -> None:
    steps = {step.ordinal: step for step in plan.steps}
    for number in sorted(plan.again):
        row = plan.tasks[number]
        waits = sum(not plan.good(b) for b in plan.before.get(number, ()))
        to = TaskState.BLOCKED if waits or row.step in blocked else TaskState.READY
        step = steps[row.step]  # may have been set since it ended
        turn = {"h": held, "lane": step.lane, "due": along_path(step.due, row.path_s)}
        tx.execute(_RESET, {"j": row.job, "n": number, "was": row.state, "to": to, "w": waits, **turn})


def _reset_steps(tx: Connection, plan: _Plan, jobs_before: int, held: int) -> set[int]:
    """Open again what has tasks left; the ordinals of the steps that wait for others."""
    again = Counter(plan.tasks[n].step for n in plan.again)
    open_steps: set[str] = set()
    blocked: set[int] = set()
    for step in plan.steps:
        waits = jobs_before + len(open_steps & set(step.template.get("after", ())))
        rest = plan.rest.get(step.ordinal, 0)
        left = step.left + rest + again[step.ordinal]
        if left:
            open_steps.add(step.name)
        state = "ended" if not left else "blocked" if waits else "ready"
        if state == "blocked":
            blocked.add(step.ordinal)
        row = {"j": step.job, "o": step.ordinal, "to": state, "w": waits if left else 0, "l": left}
        handed_out = step.total - rest - step.early if rest else step.next
        tx.execute(_STEP, row | {"b": plan.bad_in(step.ordinal), "k": handed_out, "h": held})
    return blocked


def _reopen(tx: Connection, job: int, plan: _Plan) -> None:
    """Take what goes again off the job's counters. Raises RuntimeError when the job is done: nothing of it is bad."""
    less = Counter(plan.tasks[n].state for n in plan.again)
    for step in plan.steps:
        state = TaskState.CANCELLED if _was_cancelled(step) else TaskState.SKIPPED
        less[state] += plan.rest.get(step.ordinal, 0)
    states = {"f": less[TaskState.FAILED], "c": less[TaskState.CANCELLED], "s": less[TaskState.SKIPPED]}
    if not tx.execute(_REOPEN, {"j": job, **states}).rowcount:
        raise RuntimeError(f"job {job} is done, yet {less.total()} of its tasks would go again")
