"""What waits for a slot: lanes and owners that have something, and of each the earliest due steps and tasks."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any

from sqlalchemy import Connection, CursorResult, TextClause, and_, bindparam, or_, select, text

from farm import tables as t
from farm.model import JobState
from farm.tables import AnyRow

Pair = tuple[str, str]
"""Lane and owner."""
Rows = CursorResult[Any] | tuple[()]
OPEN = or_(t.Job.state == JobState.QUEUED, t.Job.state == JobState.RUNNING)  # IN is written out anew each time
_STEP_WAITS = text(f"{t.STEP_WAITS} AND step.needs = '' AND step.next + step.early < step.total")
_TASK_WAITS = text(f"{t.TASK_WAITS} AND task.needs = ''")  # what needs more than slots is in farm.queue.needy
_FROM: Any = bindparam("from_", 0)
UNPAUSED = or_(t.Task.not_before.is_(None), t.Task.not_before <= bindparam("now", type_=t.Utc()))


def _of_jobs(query: Any, job: Any) -> Any:
    return query.where(job.in_(bindparam("jobs", expanding=True)))


def pair_walk(table: str, waits: str) -> str:
    """Parts of a WITH RECURSIVE: from lane to lane and from owner to owner along the index of what waits, to the rows
    of `…_pairs`, the last of each lane without an owner. DISTINCT would look at all of it."""

    def first(column: str, where: str) -> str:
        return f"(SELECT {column} FROM {table} WHERE {waits}{where} ORDER BY {table}.lane, {table}.owner LIMIT 1)"

    lane, owner, in_lane, pairs = f"{table}.lane", f"{table}.owner", f"{table}_in_lane", f"{table}_pairs"
    return f"""{in_lane}(lane) AS (
  SELECT {first(lane, "")}
  UNION ALL SELECT {first(lane, f" AND {lane} > {in_lane}.lane")} FROM {in_lane} WHERE {in_lane}.lane IS NOT NULL
), {pairs}(lane, owner) AS (
  SELECT {in_lane}.lane, {first(owner, f" AND {lane} = {in_lane}.lane")} FROM {in_lane} WHERE {in_lane}.lane IS NOT NULL
  UNION ALL SELECT {pairs}.lane, {first(owner, f" AND {lane} = {pairs}.lane AND {owner} > {pairs}.owner")}
  FROM {pairs} WHERE {pairs}.owner IS NOT NULL
)"""


def _each_pair(table: str, waits: str) -> TextClause:
    pairs = f"SELECT lane, owner FROM {table}_pairs WHERE owner IS NOT NULL"
    return text(f"WITH RECURSIVE {pair_walk(table, waits)} {pairs}")


_STEP_PAIRS: Any = select(t.Step.lane, t.Step.owner).where(_STEP_WAITS, t.Step.slots <= bindparam("slots")).distinct()
_TASK_PAIRS: Any = (
    select(t.Task.lane, t.Task.owner).where(_TASK_WAITS, t.Task.slots <= bindparam("slots"), UNPAUSED).distinct()
)
STEP_ROWS: Any = select(t.Step, t.Job.state.label("job_state")).join(t.Job, t.Job.id == t.Step.job)
_STEPS: Any = (
    STEP_ROWS.where(_STEP_WAITS, OPEN, t.Step.slots <= bindparam("slots"))
    .where(t.Step.lane == bindparam("lane"), t.Step.owner == bindparam("owner"))
    .order_by(t.Step.due, t.Step.job, t.Step.ordinal)
    .limit(bindparam("limit"))
    .offset(_FROM)
)
TASK_ROWS: Any = (
    select(
        t.Task.job.label("task_job"),
        t.Task.number,
        t.Task.position,
        t.Task.name.label("task_name"),
        t.Task.params,
        t.Task.attempts,
        t.Task.due.label("task_due"),
        t.Task.memory.label("task_memory"),
        t.Task.predicted_s.label("task_predicted_s"),
        t.Task.path_s,
        t.Task.failed_on,
        t.Step,
        t.Job.state.label("job_state"),
    )
    .join(t.Step, and_(t.Step.job == t.Task.job, t.Step.ordinal == t.Task.step))
    .join(t.Job, t.Job.id == t.Task.job)
)
_TASKS: Any = (
    TASK_ROWS.where(_TASK_WAITS, OPEN, UNPAUSED, t.Task.slots <= bindparam("slots"))
    .where(t.Task.lane == bindparam("lane"), t.Task.owner == bindparam("owner"))
    .order_by(t.Task.due, t.Task.job, t.Task.number)
    .limit(bindparam("limit"))
    .offset(_FROM)
)
_SHORTEST: Any = (
    TASK_ROWS.where(text(t.TASK_WAITS), OPEN, UNPAUSED, t.Task.path_s.is_not(None))
    .where(t.Task.job == bindparam("job"), t.Task.step == bindparam("step"))
    .order_by(t.Task.predicted_s, t.Task.number)
    .limit(bindparam("limit"))
)
PLAIN_STEPS = f"{_STEP_WAITS.text} AND step.slots <= :slots"
PLAIN_TASKS = f"{_TASK_WAITS.text} AND task.slots <= :slots AND (task.not_before IS NULL OR task.not_before <= :now)"
_PAIRS = (
    _each_pair("step", PLAIN_STEPS),
    _each_pair("task", PLAIN_TASKS).bindparams(bindparam("now", type_=t.Utc())),
)
_PAIRS_OF = (_of_jobs(_STEP_PAIRS, t.Step.job), _of_jobs(_TASK_PAIRS, t.Task.job))
_STEPS_OF, _TASKS_OF = _of_jobs(_STEPS, t.Step.job), _of_jobs(_TASKS, t.Task.job)


def unlocked(query: Any, of: Any) -> Any:
    """The same for a claim: PostgreSQL passes over what another program has locked; SQLite locks no rows."""
    return query.with_for_update(skip_locked=True, of=of)


_UNLOCKED: Any = {
    query: unlocked(query, of)
    for of, queries in ((t.Step, (_STEPS, _STEPS_OF)), (t.Task, (_TASKS, _TASKS_OF, _SHORTEST)))
    for query in queries
}


@dataclass(slots=True)
class Candidate:
    """A step with positions left, or a single ready task (`number`)."""

    row: AnyRow
    remaining: int
    number: int | None = None

    @property
    def due(self) -> datetime:
        found: datetime = self.row.due if self.number is None else self.row.task_due
        return found

    @property
    def seconds(self) -> float:
        """What one task of it is expected to take."""
        own = None if self.number is None else self.row.task_predicted_s
        return float(self.row.predicted_s if own is None else own)


@dataclass(frozen=True, slots=True)
class Waiting:
    """At one moment, what needs at most `slots` slots; with `jobs`, of these alone. With `largest`, also who has what
    needs more than `slots`, up to that, and of each the first task if it is such a one."""

    tx: Connection
    now: datetime
    slots: int
    jobs: Collection[int] | None = None
    largest: int = 0
    held: Collection[str] = ()  # lanes of which nothing is handed out
    claims: bool = False  # what is found is to be taken
    more: int = 0  # candidates beyond the first, for who finds nothing among those: PostgreSQL locks all that it gives
    having: tuple[Collection[Pair], Collection[Pair]] | None = None  # who has tasks with rows, who steps, if known

    def pairs(self) -> set[tuple[str, str]]:
        """Lanes and owners that have something."""
        about: dict[str, Any] = {"slots": max(self.slots, self.largest)}
        if self.jobs is not None:
            queries, about = _PAIRS_OF, about | {"jobs": sorted(self.jobs)}
        else:
            queries = _PAIRS
        steps, tasks = (self.tx.execute(query, about | {"now": self.now}) for query in queries)
        return {(row.lane, row.owner) for row in (*steps, *tasks) if row.lane not in self.held}

    def queue(self, lane: str, owner: str, limit: int) -> "Queue":
        """Earliest due first."""
        about: dict[str, Any] = {"lane": lane, "owner": owner, "slots": self.slots, "limit": limit}
        about |= {} if self.jobs is None else {"jobs": sorted(self.jobs)}
        tasks, steps = (_TASKS, _STEPS) if self.jobs is None else (_TASKS_OF, _STEPS_OF)
        about |= {"now": self.now}
        tasks, steps = (_UNLOCKED[tasks], _UNLOCKED[steps]) if self.claims else (tasks, steps)
        asked = [pairs is None or (lane, owner) in pairs for pairs in self.having or (None, None)]
        wide = self._wide(tasks, steps, about) if self.largest > self.slots else None
        found = self._found(tasks, steps, about, asked, wide)
        if self.more:
            later = about | {"limit": self.more, "from_": limit}
            found.behind(limit, lambda: self._found(tasks, steps, later, asked))
        return found

    def _found(
        self, tasks: Any, steps: Any, about: dict[str, Any], asked: Sequence[bool], wide: "Candidate | None" = None
    ) -> "Queue":
        single, arrays = (self.tx.execute(q, about) if a else () for q, a in zip((tasks, steps), asked, strict=True))
        return Queue(single, arrays, wide)

    def _wide(self, tasks: Any, steps: Any, about: dict[str, Any]) -> Candidate | None:
        """What comes first of all, if it needs more than `slots`."""
        one = about | {"slots": self.largest, "limit": 1}
        queue = Queue(self.tx.execute(tasks, one), self.tx.execute(steps, one))
        first = next(iter(queue), None)
        queue.close()
        return first if first and first.row.slots > self.slots else None


def shortest(tx: Connection, job: int, step: int, now: datetime, limit: int, claims: bool) -> list[Candidate]:
    """Tasks of a campaign that wait, the shortest first."""
    query = _UNLOCKED[_SHORTEST] if claims else _SHORTEST
    rows = tx.execute(query, {"job": job, "step": step, "now": now, "limit": limit})
    return [Candidate(row, 1, row.number) for row in rows]


class Queue:
    """Candidates of one owner in one lane, fetched as far as somebody looks."""

    def __init__(self, tasks: Rows, steps: Rows, wide: Candidate | None = None) -> None:
        self._results: tuple[Rows, ...] = (tasks, steps)
        single = (Candidate(row, 1, row.number) for row in tasks)
        arrays = (Candidate(row, row.total - row.next - row.early) for row in steps)
        self._more: Iterator[Candidate] = merge(single, arrays, key=lambda c: c.row.task_due if c.number else c.row.due)
        self._here: list[Candidate] = [wide] if wide else []

    def behind(self, many: int, rest: Callable[[], "Queue"]) -> None:
        """Where there are so many, and somebody has looked at all of them, `rest` comes after."""
        self._more = self._and_then(self._more, many, rest)

    def beside(self, others: "Sequence[Queue]") -> None:
        """What is in these, too, by due date."""
        self._more = merge(self._more, *(other._more for other in others), key=lambda c: (c.due, c.row.job))
        self._results += tuple(result for other in others for result in other._results)

    def _and_then(self, first: Iterator[Candidate], many: int, rest: Callable[[], "Queue"]) -> Iterator[Candidate]:
        seen = 0
        for candidate in first:
            seen += 1
            yield candidate
        if seen >= many:
            later = rest()
            self._results += later._results
            yield from later._more

    def __iter__(self) -> Iterator[Candidate]:
        yield from self._here
        for candidate in self._more:
            self._here.append(candidate)
            yield candidate

    def remove(self, candidate: Candidate) -> None:
        if candidate in self._here:  # the shortest of a campaign may be none of those
            self._here.remove(candidate)

    @property
    def left(self) -> bool:
        """Whether something is for sure left that was looked at. Of a campaign something else may have been taken."""
        return any(c.remaining and (c.number is None or c.row.path_s is None) for c in self._here)

    def close(self) -> None:
        for result in self._results:
            if isinstance(result, CursorResult):
                result.close()
