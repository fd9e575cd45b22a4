"""Tasks of arrays that ended well, many at once: no verdict is needed, and each costs a few microseconds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from executors.contract import Event
from farm import bulk
from farm import tables as t
from farm.model import AttemptState, TaskState
from farm.queue import predict
from farm.queue.progress import End
from farm.reference import Reference
from farm.tables import AnyRow

if TYPE_CHECKING:
    from farm.queue.settle import Settled

LEAST = 4  # fewer are not worth the questions

Group = Sequence[tuple[Reference, str, Event]]


class Outcome(NamedTuple):
    """A result that says something of its executor: it can do the work, or a task really failed there."""

    executor: str
    seq: int
    job: int
    step: int
    attempt: str
    good: bool
    exit: int
    cause: str


_ARRAYS = (
    select(t.Step.ordinal, t.Step.name.label("step_name"), t.Job.kind, t.Job.name.label("job_name"), t.Job.changes)
    .join(t.Job, t.Job.id == t.Step.job)
    .where(t.Step.job == bindparam("j"), t.Step.array.is_not(None))
)
_FLYING = select(
    t.Attempt.number, t.Attempt.ordinal, t.Attempt.token, t.Attempt.executor, t.Attempt.step, t.Attempt.slots
).where(
    t.Attempt.job == bindparam("j"),
    t.Attempt.number.in_(bindparam("numbers", expanding=True, literal_execute=True)),
    t.Attempt.state.in_((AttemptState.CLAIMED, AttemptState.STARTED)),
)
_END = (
    update(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o"))
    .where(t.Attempt.token == bindparam("t"))
    .where(or_(t.Attempt.state == AttemptState.CLAIMED, t.Attempt.state == AttemptState.STARTED))
    .values(state=AttemptState.SUCCEEDED, started=bindparam("from_"), finished=bindparam("at"))
    .values(exit=0, cause="", message=bindparam("m"), cpu_ms=bindparam("cpu"), rss_kib=bindparam("rss"))
    .values(spool=bindparam("s"), lo=bindparam("l"), hi=bindparam("h"))
)
_ENDED = ("j", "n", "o", "t", "from_", "at", "m", "cpu", "rss", "s", "l", "h")
_DONE = (
    update(t.Task)
    .where(and_(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.RUNNING))
    .values(state=TaskState.DONE, accepted=bindparam("o"), changed=bindparam("c"), exit=0, cause="")
    .values(message=bindparam("m"), cpu_ms=bindparam("cpu"), rss_kib=bindparam("rss"))
    .values(started=bindparam("from_"), finished=bindparam("at"), outputs=None, failed_on=None)
)
_DID = ("j", "n", "o", "c", "from_", "at", "m", "cpu", "rss")


def take(tx: Connection, job: int, group: Group, out: "Settled") -> tuple[Group, list[End]]:
    """Settle those of a job's ended attempts that need no thought; the others, and what to account for."""
    plain = [ref.number for ref, _, event in group if _plain(event)]
    if len(plain) < LEAST:
        return group, []
    steps = {row.ordinal: row for row in tx.execute(_ARRAYS, {"j": job})}
    if not steps:
        return group, []
    rows = tx.execute(_FLYING, {"j": job, "numbers": plain})
    flying = {(number, ordinal, token, executor): more for number, ordinal, token, executor, *more in rows}
    return _take(tx, job, group, _Ends(tx, job, steps, flying), out)


def _plain(event: Event) -> bool:
    return event.exit == 0 and not event.cause and event.started > 0 and not event.outputs


def _take(tx: Connection, job: int, group: Group, ends: "_Ends", out: "Settled") -> tuple[Group, list[End]]:
    rest = []
    for one in group:
        ref, executor, event = one
        step = ends.add(ref, executor, event) if _plain(event) else None
        if step is None:
            rest.append(one)
            continue
        ordinal, slots = step
        out.freed[executor] += slots
        out.outcomes.append(Outcome(executor, event.seq, job, ordinal, event.attempt, True, 0, ""))
        out.seconds[(job, ordinal)].append((event.at - event.started) / 1e9)
    return rest, ends.write()


class _Ends:
    """Rows gathered, so that each statement runs once."""

    def __init__(self, tx: Connection, job: int, steps: dict[int, AnyRow], flying: dict[Any, Any]) -> None:
        self._tx, self._job, self._steps, self._flying = tx, job, steps, flying
        self._attempts: list[tuple[Any, ...]] = []
        self._tasks: list[tuple[Any, ...]] = []
        self._took: dict[tuple[int, str], float] = {}  # (step, executor) → seconds of the last one
        self._many: dict[int, int] = {}

    def add(self, ref: Reference, executor: str, event: Event) -> tuple[int, int] | None:
        """Step and slots of the attempt; None where it is not one of these."""
        found = self._flying.get((ref.number, ref.ordinal, event.token, executor))
        if found is None or found[0] not in self._steps:
            return None
        del self._flying[ref.number, ref.ordinal, event.token, executor]
        step, slots = found
        job, number, ordinal = ref
        measured = (event.started // 1000, event.at // 1000, event.message, event.cpu_ms, event.rss_kib)
        self._attempts.append((job, number, ordinal, event.token, *measured, event.spool, event.lo, event.hi))
        self._tasks.append((job, number, ordinal, self._steps[step].changes + 1, *measured))
        self._took[step, executor] = (event.at - event.started) / 1e9
        self._many[step] = self._many.get(step, 0) + 1
        return step, slots

    def write(self) -> list[End]:
        if not self._attempts:
            return []
        bulk.tuples(self._tx, _END, _ENDED, self._attempts)
        bulk.tuples(self._tx, _DONE, _DID, self._tasks)
        names = {n: predict.what(s.kind, s.job_name, s.step_name) for n, s in self._steps.items() if n in self._many}
        predict.learn(self._tx, {(names[step], executor): took for (step, executor), took in self._took.items()})
        first = self._attempts[0][1]
        return [End(self._job, first, n, TaskState.DONE, rows=rows, stamped=True) for n, rows in self._many.items()]
