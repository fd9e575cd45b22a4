"""What waits for more than slots: amounts and labels. Asked kind by kind, so that a million alike cost as one does."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, union_all

from farm import tables as t
from farm.queue.needs import given_of, needs_of
from farm.queue.room import Room, Rooms
from farm.queue.waiting import OPEN, STEP_ROWS, TASK_ROWS, UNPAUSED, Queue, unlocked
from schedules.needs import Needs

_STEP_WAITS = f"{t.STEP_WAITS} AND step.needs <> '' AND step.next + step.early < step.total"
_TASK_WAITS = f"{t.TASK_WAITS} AND task.needs <> ''"


def _walk(table: str, waits: str) -> str:
    """From kind to kind, lane to lane and owner to owner along the index of those that wait."""
    kind, lane, owner = f"{table}.needs", f"{table}.lane", f"{table}.owner"

    def first(column: str, where: str) -> str:
        return f"(SELECT {column} FROM {table} WHERE {waits}{where} ORDER BY {kind}, {lane}, {owner} LIMIT 1)"

    kinds, lanes, owners = f"{table}_kinds", f"{table}_lanes", f"{table}_owners"
    in_kind, in_lane = f" AND {kind} = {kinds}.kind", f" AND {kind} = {lanes}.kind AND {lane} = {lanes}.lane"
    return f"""{kinds}(kind) AS (
  SELECT {first(kind, "")}
  UNION ALL SELECT {first(kind, f" AND {kind} > {kinds}.kind")} FROM {kinds} WHERE {kinds}.kind IS NOT NULL
), {lanes}(kind, lane) AS (
  SELECT {kinds}.kind, {first(lane, in_kind)} FROM {kinds} WHERE {kinds}.kind IS NOT NULL
  UNION ALL SELECT {lanes}.kind, {first(lane, f" AND {kind} = {lanes}.kind AND {lane} > {lanes}.lane")}
  FROM {lanes} WHERE {lanes}.lane IS NOT NULL
), {owners}(kind, lane, owner) AS (
  SELECT {lanes}.kind, {lanes}.lane, {first(owner, in_lane)} FROM {lanes} WHERE {lanes}.lane IS NOT NULL
  UNION ALL SELECT {owners}.kind, {owners}.lane,
  {first(owner, f" AND {kind} = {owners}.kind AND {lane} = {owners}.lane AND {owner} > {owners}.owner")}
  FROM {owners} WHERE {owners}.owner IS NOT NULL
)"""


_UNPAUSED = "(task.not_before IS NULL OR task.not_before <= :now)"
WALK = f"{_walk('step', _STEP_WAITS)}, {_walk('task', f'{_TASK_WAITS} AND {_UNPAUSED}')}"
"""Parts of a WITH RECURSIVE, to the rows of `step_owners` and `task_owners`."""
_ALL = text(
    f"WITH RECURSIVE {WALK} SELECT kind, lane, owner FROM step_owners WHERE owner IS NOT NULL"
    " UNION SELECT kind, lane, owner FROM task_owners WHERE owner IS NOT NULL"
).bindparams(bindparam("now", type_=t.Utc()))
_STEPS: Any = (
    STEP_ROWS.where(text(_STEP_WAITS), OPEN, t.Step.needs == bindparam("kind"))
    .where(t.Step.lane == bindparam("lane"), t.Step.owner == bindparam("owner"))
    .order_by(t.Step.due, t.Step.job, t.Step.ordinal)
    .limit(bindparam("limit"))
)
_TASKS: Any = (
    TASK_ROWS.where(text(_TASK_WAITS), OPEN, t.Task.needs == bindparam("kind"), UNPAUSED)
    .where(t.Task.lane == bindparam("lane"), t.Task.owner == bindparam("owner"))
    .order_by(t.Task.due, t.Task.job, t.Task.number)
    .limit(bindparam("limit"))
)
_UNLOCKED = unlocked(_TASKS, t.Task), unlocked(_STEPS, t.Step)
_GIVEN = union_all(
    select(t.Attempt.executor, t.Attempt.given).where(
        text("attempt.finished IS NULL AND attempt.given IS NOT NULL"),
        t.Attempt.executor.in_(bindparam("ids", expanding=True)),
    ),
    select(t.Ending.executor, t.Ending.given).where(
        t.Ending.given.is_not(None), t.Ending.executor.in_(bindparam("ids", expanding=True))
    ),
)


def in_use(tx: Connection, rooms: Collection[Room]) -> None:
    """Books on these rooms what their attempts were given that run, or have still to end."""
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
    found: dict[Needs, set[tuple[str, str]]] = field(default_factory=dict)  # who has such work
    names: dict[Needs, str] = field(default_factory=dict)

    def look(self, waiting: Collection[tuple[str, str, str]]) -> "Needy":
        """`waiting`: kind of needs, lane and owner of all that waits and has needs."""
        if waiting:
            in_use(self.tx, self.rooms.open)
        self.names = {needs_of(kind): kind for kind, _, _ in waiting}
        possible = {needs for needs in self.names if any(room.could(needs) for room in self.rooms.open)}
        self.found = {needs: set() for needs in possible}
        for kind, lane, owner in waiting:
            if lane not in self.held and (needs := needs_of(kind)) in possible:
                self.found[needs].add((lane, owner))
        return self

    def pairs(self, now: bool = False) -> set[tuple[str, str]]:
        """Lanes and owners that have such work; with `now`, such that can begin."""
        return {pair for needs, who in self.found.items() if not now or self.rooms.best(needs) for pair in who}

    def left(self) -> set[tuple[str, str]]:
        """Who has some after all that was handed out."""
        rows = self.tx.execute(_ALL, {"now": self.now}) if self.found else ()
        return {(row.lane, row.owner) for row in rows if needs_of(row.kind) in self.found and row.lane not in self.held}

    def queues(self, lane: str, owner: str, limit: int) -> list[Queue]:
        """Kind by kind, earliest due first; of what can't begin now the first alone."""
        tasks, steps = _UNLOCKED if self.claims else (_TASKS, _STEPS)
        found = []
        for needs in (needs for needs, who in self.found.items() if (lane, owner) in who):
            about: dict[str, Any] = {"kind": self.names[needs], "lane": lane, "owner": owner, "now": self.now}
            about["limit"] = limit if self.rooms.best(needs) else 1
            found.append(Queue(self.tx.execute(tasks, about), self.tx.execute(steps, about)))
        return found
