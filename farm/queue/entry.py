"""What one claim writes: tasks and attempts that begin, how far arrays are, and what lanes and owners were given. On
PostgreSQL all of it in one statement."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, func, insert, update

from farm import bulk
from farm import tables as t
from farm.model import JobState, TaskState
from farm.queue.advance import ADVANCE, Advance
from farm.queue.reserved import Reserved
from farm.queue.shares import Fact
from farm.queue.standing import Standing
from farm.queue.table import SYSTEM, Table
from farm.tables import AnyRow

_INSERT_TASKS = insert(t.Task)
_OWN = ("job", "step", "lane", "owner", "slots", "needs")
_TASK = (*_OWN, "state", "due", "attempts", "executor", "number", "position", "name")
_START_TASK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.READY)
    .values(state=TaskState.RUNNING, attempts=bindparam("ordinal"), executor=bindparam("on"), lead=bindparam("half"))
)
_START = ("j", "n", "ordinal", "on", "half")
_INSERT_ATTEMPTS = insert(t.Attempt)
_ATTEMPT = ("job", "number", "ordinal", "step", "executor", "token", "slots", "state", "claimed", "given")
_MORE = {"running": t.Job.running + bindparam("more"), "changes": t.Job.changes + 1}
_COUNT = update(t.Job).where(t.Job.id == bindparam("j"), t.Job.state == JobState.RUNNING).values(_MORE)
_BEGIN = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"), t.Job.state == JobState.QUEUED)
    .values(_MORE)
    .values(state=JobState.RUNNING, started=func.coalesce(t.Job.started, bindparam("at", type_=t.Utc())))
)
_SPEND = (
    update(t.LaneFact)
    .where(t.LaneFact.name == bindparam("l"))
    .values(virtual_s=bindparam("v"), backlogged=bindparam("b"))
)
_ADD_LANE = insert(t.LaneFact)
_SPEND_OWNER = (
    update(t.OwnerFact)
    .where(t.OwnerFact.lane == bindparam("l"), t.OwnerFact.owner == bindparam("o"))
    .values(virtual_s=bindparam("v"), backlogged=bindparam("b"))
)
_ADD_OWNER = insert(t.OwnerFact)
Key = TypeVar("Key", bound=tuple[str, ...])
_FACT = ("virtual_s", "backlogged")


@dataclass(slots=True)
class Entry:
    """Rows of the tables, in the order of the names above. `at`: microseconds."""

    at: int
    tasks: list[tuple[Any, ...]] = field(default_factory=list)
    restarts: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    steps: dict[tuple[int, int], Advance] = field(default_factory=dict)
    _count: dict[int, int] = field(default_factory=dict)  # job → tasks that begin
    _begin: dict[int, int] = field(default_factory=dict)  # … of those of which none ran
    _given: list[bulk.Part] = field(default_factory=list)

    def began(self, step: AnyRow, tasks: int) -> None:
        of = self._begin if step.job_state == JobState.QUEUED else self._count
        of[step.job] = of.get(step.job, 0) + tasks

    def spend(self, table: Table, standing: Standing, left: Collection[tuple[str, str]], reserved: Reserved) -> None:
        """Virtual times, and that `left` still have something that waits. Only what changed is written: there may be
        thousands of owners."""
        lanes = {name: Fact(fact.virtual, False) for name, fact in standing.lanes.items()}
        lanes |= table.lanes.facts(lane for lane, owner in left if (lane, owner) not in reserved.barred)
        lanes[SYSTEM] = Fact(table.lanes.system, False)
        kept = standing.owners.keys() - (reserved.full - table.owners.keys())  # one may be full since it was served
        owners = {(lane, o): f for lane in kept for o, f in standing.owners[lane].items()}
        now = {key: Fact(fact.virtual, False) for key, fact in owners.items()}
        for lane, shares in table.owners.items():
            now |= {(lane, o): fact for o, fact in shares.facts({o for name, o in left if name == lane}).items()}
            now[lane, SYSTEM] = Fact(shares.system, False)
        known = {(name,): fact for name, fact in standing.lanes.items()}
        self._given = [
            *_changes(_SPEND, ("l",), _ADD_LANE, ("name",), known, {(name,): fact for name, fact in lanes.items()}),
            *_changes(_SPEND_OWNER, ("l", "o"), _ADD_OWNER, ("lane", "owner"), owners, now),
        ]

    def write(self, tx: Connection) -> None:
        """What came since it was written last. Raises RuntimeError when the queue is not as this claim saw it."""
        parts = [*self._parts(), *self._given]
        for part, changed in zip(parts, bulk.together(tx, parts), strict=True):
            if changed != len(part.rows):
                raise RuntimeError(f"the queue moved under a claim: {changed} rows instead of {len(part.rows)}")
        for written in (self.tasks, self.restarts, self.attempts, self.steps, self._count, self._begin, self._given):
            written.clear()

    def _parts(self) -> Iterator[bulk.Part]:
        advanced = [tuple(step.row().values()) for step in self.steps.values()]
        counted, begun = list(self._count.items()), [(job, more, self.at) for job, more in self._begin.items()]
        for statement, names, rows in (
            (ADVANCE, Advance.NAMES, advanced),
            (_INSERT_TASKS, _TASK, self.tasks),
            (_START_TASK, _START, self.restarts),
            (_INSERT_ATTEMPTS, _ATTEMPT, self.attempts),
            (_COUNT, ("j", "more"), counted),
            (_BEGIN, ("j", "more", "at"), begun),
        ):
            if rows:
                yield bulk.Part(statement, names, list(rows))


def _changes(
    change: bulk.Statement,
    keys: tuple[str, ...],
    add: bulk.Statement,
    columns: tuple[str, ...],
    known: Mapping[Key, Fact],
    now: Mapping[Key, Fact],
) -> Iterator[bulk.Part]:
    """From what is `known` to what is so `now`."""
    rows = {key: (*key, fact.virtual, fact.backlogged) for key, fact in now.items() if known.get(key) != fact}
    if old := [row for key, row in rows.items() if key in known]:
        yield bulk.Part(change, (*keys, "v", "b"), old)
    if new := [row for key, row in rows.items() if key not in known]:
        yield bulk.Part(add, (*columns, *_FACT), new)
