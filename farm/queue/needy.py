"""What waits for more than slots: amounts and labels. Asked kind by kind, so that a million alike cost as one does."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from farm import tables as t
from farm.queue.needs import given_of, needs_of
from farm.queue.room import Room, Rooms
from farm.queue.waiting import OPEN, STEP_ROWS, TASK_ROWS, UNPAUSED, Queue, each_pair, unlocked
from schedules.needs import Needs

_STEP_WAITS = f"{t.STEP_WAITS} AND step.needs <> '' AND step.next + step.early < step.total"
_TASK_WAITS = f"{t.TASK_WAITS} AND task.needs <> ''"


def _walk(table: str) -> str:
    """From kind to kind along the index of those that wait."""
    next_one = f"SELECT {table}.needs FROM {table} WHERE {table}.state = 'ready' AND {table}.held = 0"
    ends = f"ORDER BY {table}.needs LIMIT 1"
    return f"""{table}_kind(kind) AS (SELECT ({next_one} AND {table}.needs <> '' {ends})
  UNION ALL SELECT ({next_one} AND {table}.needs <> '' AND {table}.needs > {table}_kind.kind {ends})
  FROM {table}_kind WHERE {table}_kind.kind IS NOT NULL)"""


_KINDS = text(
    f"WITH RECURSIVE {_walk('step')}, {_walk('task')} SELECT kind FROM step_kind WHERE kind IS NOT NULL"
    " UNION SELECT kind FROM task_kind WHERE kind IS NOT NULL"
)
_PAIRS = (
    each_pair("step", f"{_STEP_WAITS} AND step.needs = :kind"),
    each_pair(
        "task", f"{_TASK_WAITS} AND task.needs = :kind AND (task.not_before IS NULL OR task.not_before <= :now)"
    ).bindparams(bindparam("now", type_=t.Utc())),
)
_STEPS: Any = (
    STEP_ROWS.where(text(_STEP_WAITS), t.Job.state.in_(OPEN), t.Step.needs == bindparam("kind"))
    .where(t.Step.lane == bindparam("lane"), t.Step.owner == bindparam("owner"))
    .order_by(t.Step.due, t.Step.job, t.Step.ordinal)
    .limit(bindparam("limit"))
)
_TASKS: Any = (
    TASK_ROWS.where(text(_TASK_WAITS), t.Job.state.in_(OPEN), t.Task.needs == bindparam("kind"), UNPAUSED)
    .where(t.Task.lane == bindparam("lane"), t.Task.owner == bindparam("owner"))
    .order_by(t.Task.due, t.Task.job, t.Task.number)
    .limit(bindparam("limit"))
)
_UNLOCKED = unlocked(_TASKS, t.Task), unlocked(_STEPS, t.Step)
_GIVEN = select(t.Attempt.executor, t.Attempt.given).where(
    text("attempt.finished IS NULL AND attempt.given IS NOT NULL"),
    t.Attempt.executor.in_(bindparam("ids", expanding=True)),
)


def kinds(tx: Connection) -> list[tuple[str, Needs]]:
    """All different needs of what waits, beside those of slots alone."""
    return [(row.kind, needs_of(row.kind)) for row in tx.execute(_KINDS)]


def in_use(tx: Connection, rooms: Collection[Room]) -> None:
    """Books on these rooms what their running attempts were given."""
    known = {room.executor: room for room in rooms if room.offer.amounts}
    for row in tx.execute(_GIVEN, {"ids": list(known)}) if known else ():
        known[row.executor].gave(*given_of(row.given))


@dataclass(slots=True)
class Needy:
    """In one claim: what one of its rooms could have, if it were empty."""

    tx: Connection
    now: datetime
    rooms: Rooms
    held: Collection[str] = ()  # lanes of which nothing is handed out
    claims: bool = False  # what is found is to be taken
    possible: list[tuple[str, Needs]] = field(default_factory=list)

    def look(self) -> "Needy":
        if found := kinds(self.tx):
            in_use(self.tx, self.rooms.open)
            self.possible = [(kind, needs) for kind, needs in found if any(r.could(needs) for r in self.rooms.open)]
        return self

    def pairs(self, now: bool = False) -> set[tuple[str, str]]:
        """Lanes and owners that have such work; with `now`, such that can begin."""
        which = [kind for kind, needs in self.possible if not now or self.rooms.best(needs)]
        return {pair for kind in which for pair in self._pairs(kind)}

    def _pairs(self, kind: str) -> Iterator[tuple[str, str]]:
        for query in _PAIRS:
            for row in self.tx.execute(query, {"kind": kind, "now": self.now}):
                if row.lane not in self.held:
                    yield row.lane, row.owner

    def queues(self, lane: str, owner: str, limit: int) -> list[Queue]:
        """Kind by kind, earliest due first; of what can't begin now the first alone."""
        tasks, steps = _UNLOCKED if self.claims else (_TASKS, _STEPS)
        found = []
        for kind, needs in self.possible:
            about = {"kind": kind, "lane": lane, "owner": owner, "now": self.now}
            about["limit"] = limit if self.rooms.best(needs) else 1
            found.append(Queue(self.tx.execute(tasks, about), self.tx.execute(steps, about)))
        return found
