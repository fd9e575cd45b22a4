"""Who gets the next free slots: lanes, and owners inside a lane, by fair share; of an owner, earliest due first.

Claims are written before anything starts.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from farm import bulk
from farm import tables as t
from farm.clock import micros
from farm.model import AttemptState, JobState, TaskState
from farm.queue import early, holds, template
from farm.queue.advance import ADVANCE, Advance
from farm.queue.campaign import Halves
from farm.queue.handed import Handed, Number, Portion
from farm.queue.licence import Licences
from farm.queue.needs import given, needs_of
from farm.queue.needy import Needy
from farm.queue.reserved import Reserved
from farm.queue.room import Kept, Room, Rooms
from farm.queue.shares import Fact, Shares
from farm.queue.table import SYSTEM, Table, shares_of
from farm.queue.waiting import Candidate, Queue, Waiting
from farm.tables import AnyRow
from schedules.model import Lane, Licence
from schedules.needs import Needs
from schedules.reserve import Allowed

_TOKENS = random.Random()
_LOOK = 64  # candidates of an owner looked at in one go; a claim that uses them all looks again at the next event

_INSERT_TASKS = insert(t.Task)
_OWN = ("job", "step", "lane", "owner", "slots", "needs")
_TASK = (*_OWN, "state", "due", "attempts", "executor", "number", "position", "name")
_START_TASK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.READY)
    .values(state=TaskState.RUNNING, attempts=bindparam("ordinal"), executor=bindparam("on"), lead=bindparam("lead"))
)
_INSERT_ATTEMPTS = insert(t.Attempt)
_ATTEMPT = ("job", "number", "ordinal", "step", "executor", "token", "slots", "state", "claimed", "given")
_COUNT = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"))
    .values(running=t.Job.running + bindparam("more"), changes=t.Job.changes + 1)
)
_BEGIN = (
    update(t.Job)
    .where(t.Job.id == bindparam("j"), t.Job.state == JobState.QUEUED)
    .values(state=JobState.RUNNING, started=func.coalesce(t.Job.started, bindparam("at", type_=t.Utc())))
)
_ALIKE: Mapping[str, float] = {}
_NONE: Mapping[str, Licence] = {}
_LANES = select(t.LaneFact.name, t.LaneFact.virtual_s, t.LaneFact.backlogged)
_NOBODY_WAITS = update(t.LaneFact).values(backlogged=False)
_SPEND = (
    update(t.LaneFact)
    .where(t.LaneFact.name == bindparam("l"))
    .values(virtual_s=bindparam("v"), backlogged=bindparam("b"))
)
_ADD_LANE = insert(t.LaneFact)
_OWNERS = select(t.OwnerFact).where(t.OwnerFact.lane.in_(bindparam("lanes", expanding=True)))
_NO_OWNER_WAITS = (
    update(t.OwnerFact)
    .where(t.OwnerFact.backlogged, t.OwnerFact.lane.not_in(bindparam("lanes", expanding=True)))
    .values(backlogged=False)
)
_SPEND_OWNER = (
    update(t.OwnerFact)
    .where(t.OwnerFact.lane == bindparam("l"), t.OwnerFact.owner == bindparam("o"))
    .values(virtual_s=bindparam("v"), backlogged=bindparam("b"))
)
_ADD_OWNER = insert(t.OwnerFact)


class Claim:
    """One pass over the queue inside one transaction."""

    def __init__(
        self,
        tx: Connection,
        lanes: Mapping[str, Lane],
        term: int,
        now: datetime,
        owners: Mapping[str, float] = _ALIKE,
        licences: Mapping[str, Licence] = _NONE,
        allowed: Allowed | None = None,
    ) -> None:
        """`owners`: weights of those whose is not 1. `allowed`: what some lanes may have at once."""
        self._tx, self._lanes, self._term, self._now, self._owners = tx, lanes, term, now, owners
        self._at = micros(now)
        self._tasks: list[tuple[Any, ...]] = []
        self._restarts: list[dict[str, Any]] = []
        self._attempts: list[tuple[Any, ...]] = []
        self._steps: dict[tuple[int, int], Advance] = {}
        self._works: dict[str, Handed] = {}
        self._jobs: dict[int, int] = {}
        self._templates: dict[tuple[int, int], template.Template] = {}
        self._halves = Halves(tx, now, _LOOK)
        self._licences = Licences(tx, licences)
        self._lacking: set[tuple[str, str]] = set()  # lanes and owners who wait for licences only: no slot is owed them
        self._allowed, self._reserved = allowed, Reserved()
        self._rooms = Rooms([])
        self._needy = Needy(tx, now, self._rooms)
        self._held: Collection[str] = ()  # lanes
        self.closed: Collection[str] = ()  # lanes that no window leaves open
        self._deep: set[tuple[str, str]] | None = None  # lanes and owners with short work, when that has been asked
        self.portion = Portion()
        self._crowded = False  # somebody whose turn it was found every slot full: nothing more queues behind slots

    def fill(self, rooms: Sequence[Room], depth: Mapping[tuple[int, int], int]) -> dict[str, Handed]:
        """Hand out work to `rooms`. `depth`: (job, step) → how many short tasks may wait behind a slot's own."""
        self._halves.claims = True
        table = self._share_out(rooms, depth)
        if table and self._attempts:
            self._write()
            self._spend(table, max(room.slots for room in rooms))
        return self._works

    def kept(self, rooms: Sequence[Room]) -> Collection[Kept]:
        """Which of `rooms`, or what part of them, is kept after all that fits is handed out. Writes nothing."""
        self._share_out(rooms, {})
        return (*self._rooms.kept.values(), *self._rooms.parts())

    def _share_out(self, rooms: Sequence[Room], depth: Mapping[tuple[int, int], int]) -> Table | None:
        self._rooms = Rooms.of(rooms)
        free, largest = self._rooms.free, max((r.slots for r in rooms), default=0)
        if free <= 0 and not depth:
            return None
        self._reserved = Reserved.look(self._tx, self._allowed, depth)
        self._held = holds.lanes(self._tx) | frozenset(self.closed) | self._reserved.full
        claims = self._halves.claims
        more = self._licences.more
        self._needy = Needy(self._tx, self._now, self._rooms, self._held, claims).look()
        waiting = Waiting(self._tx, self._now, max(1, free), largest=largest, held=self._held, claims=claims, more=more)
        limit = sum(r.slots for r in rooms) + _LOOK
        self._halves.limit = limit + more
        table = self._table(waiting, limit)
        self._look_overdue(table, depth)
        while self.portion.more(len(self._attempts)) and (turn := table.next()) and self._may(turn, depth):
            lane, owner, seconds = turn
            took = self._serve((lane, owner), table.queue(lane, owner), depth, seconds)
            if took is None:
                table.leave(lane, owner)
                if self._rooms.exhausted:
                    table.leave_wide()
            else:
                table.charge(lane, owner, took)
                self.portion.helped += 1
        table.close()
        return table

    def _look_overdue(self, table: Table, depth: Mapping[tuple[int, int], int]) -> None:
        """Of each lane who is next, if what it has waits for several slots beyond its due date: other lanes, whose
        turns come between, do not take again and again the slots that become free for it."""
        if len(table.present) < 2 or (table.waiting.largest < 2 and not self._needy.found):
            return
        for lane in sorted(table.present, key=lambda lane: table.lanes.virtual[lane]):
            owner, _ = table.owners[lane].next(table.present[lane])
            first = next(iter(table.queue(lane, owner)), None)
            wide = first and (first.row.slots > 1 or first.row.needs) and self._reserved.room(lane, first.row.slots)
            if first and wide and first.due <= self._now:
                self._overdue(table, (lane, owner), first, depth)

    def _overdue(
        self, table: Table, pair: tuple[str, str], first: Candidate, depth: Mapping[tuple[int, int], int]
    ) -> None:
        """What fits now goes before its lane's turn if the lane is ahead by no more than what others in it were given
        while this owner waited."""
        slots, lane = first.row.slots, pair[0]
        needs = needs_of(first.row.needs) if first.row.needs else None
        if needs and not self._rooms.best(needs):
            self._rooms.reserve(pair, first.row.job, needs, _bad(first))
        elif slots > self._rooms.free:
            self._rooms.keep(pair, first.row.job, slots, _bad(first))
        elif table.ahead(lane) * self._weight(lane) < table.owed(*pair):
            table.charge(*pair, self._serve(pair, table.queue(*pair), depth, 0) or 0.0)

    def _may(self, turn: tuple[str, str, float], depth: Mapping[tuple[int, int], int]) -> bool:
        """Whether there is anything for whose turn it is. When all slots are full, that is only short work that may
        queue behind them; and none of that as soon as it is the turn of somebody who has no such work."""
        if self._rooms.any_free:
            return True
        if self._deep is None:
            jobs = {job for job, _ in depth}
            self._deep = Waiting(self._tx, self._now, 1, jobs, held=self._held).pairs() if jobs else set()
        return not self._crowded and turn[:2] in self._deep

    def _weight(self, lane: str) -> float:
        """A lane that left farm.toml while its jobs waited goes on with weight 1."""
        return self._lanes[lane].weight if lane in self._lanes else 1.0

    def _owner_weight(self, owner: str) -> float:
        return self._owners.get(owner, 1.0)

    def _table(self, waiting: Waiting, limit: int) -> Table:
        """Whose turn it is, as it was left at the last claim."""
        pairs = waiting.pairs() | self._needy.pairs()
        lanes = sorted({lane for lane, _ in pairs})
        known = {row.name: Fact(row.virtual_s, row.backlogged) for row in self._tx.execute(_LANES)}
        mine: dict[str, dict[str, Fact]] = {lane: {} for lane in lanes}
        for row in self._tx.execute(_OWNERS, {"lanes": lanes}):
            mine[row.lane][row.owner] = Fact(row.virtual_s, row.backlogged)
        owners = {lane: shares_of(facts, self._owner_weight) for lane, facts in mine.items()}
        table = Table(waiting, limit, shares_of(known, self._weight), owners, self._needy)
        table.join(pairs)
        return table

    def _serve(
        self,
        pair: tuple[str, str],
        queue: Queue,
        depth: Mapping[tuple[int, int], int],
        seconds: float,
    ) -> float | None:
        """Take of the first candidate that fits anywhere, as much as fits there and `seconds` allow. For one before it
        that needs several slots a room is kept free.

        Predicted slot-seconds that were taken; None if nothing fits.
        """
        lacks = other = False
        for candidate in self._halves.order(queue):
            step = candidate.row
            needs = needs_of(step.needs) if step.needs else None
            deep = 0 if step.licences or needs else depth.get((step.job, step.ordinal), 0)
            deep = self._rooms.level(candidate.remaining, deep)
            if not deep and not self._reserved.begin(pair, step.slots):
                continue  # others' slots are left to them
            each = step.slots * candidate.seconds
            most = candidate.remaining if deep else min(candidate.remaining, self._reserved.room(step.lane, step.slots))
            most = most if seconds == inf else min(most, int(seconds / each) + 1)
            reach = 0 if self._crowded else deep
            rooms = self._rooms.best(needs) if needs else self._rooms.may(step.slots, reach)
            for room in _better(rooms, candidate):
                may = self._licences.now.room(step.licences, room.executor) if step.licences else most
                if n := min(room.takes(needs) if needs else room.fits(step.slots, reach), most, may):
                    if needs:
                        room.begin(needs, n)
                    else:
                        room.take(n * step.slots, deep)
                    self._take(candidate, room, n)
                    self._reserved.take(step.lane, 0 if deep else n * step.slots)
                    if not candidate.remaining:
                        queue.remove(candidate)
                    return float(n * each)
            if step.licences and not self._licences.now.spare(step.licences):
                lacks = True
                continue  # it waits for a licence, and not for a slot
            other = True
            if needs:
                self._later(pair, candidate, needs)
            elif step.slots == 1:
                self._crowded = True
            else:
                self._rooms.keep(pair, step.job, step.slots, _bad(candidate))
        if lacks and not other:
            self._lacking.add(pair)
        return None

    def _later(self, pair: tuple[str, str], candidate: Candidate, needs: Needs) -> None:
        """Others go before it until it is due; from then on what it needs is kept for it."""
        if candidate.due <= self._now:
            self._rooms.reserve(pair, candidate.row.job, needs, _bad(candidate))

    def _take(self, candidate: Candidate, room: Room, n: int) -> None:
        step = candidate.row
        candidate.remaining -= n
        if step.licences:
            self._licences.now.take(step.licences, room.executor, n)
        self._jobs[step.job] = self._jobs.get(step.job, 0) + n
        if candidate.number is not None:
            self._again(candidate, room)
        else:
            self._advance(step, room, n)

    def _again(self, candidate: Candidate, room: Room) -> None:
        row = candidate.row
        ordinal = row.attempts + 1
        lead = self._halves.took(candidate)
        self._restarts.append({"j": row.job, "n": row.number, "ordinal": ordinal, "on": room.executor, "lead": lead})
        self._attempt(row, row.number, row.position, ordinal, room, row.params, row.task_memory)

    def _advance(self, step: AnyRow, room: Room, n: int) -> None:
        key = (step.job, step.ordinal)
        if key not in self._steps:
            self._steps[key] = Advance(step, early.positions(self._tx, step) if step.early else ())
        where, due, first = (step.lane, step.owner, step.slots, step.needs), micros(step.due), step.first_number
        same = (*key, *where, TaskState.RUNNING, due, 1, room.executor)
        positions, made = list(self._steps[key].take(n)), self._template(step)
        self._tasks += [(*same, first + p, p, made.name(p)) for p in positions]
        if step.needs or not made.simple:
            for p in positions:
                self._attempt(step, first + p, p, 1, room, None, 0)
            return
        numbers = [Number(first + p, p, _TOKENS.getrandbits(52)) for p in positions]
        rest, slots, at = (step.ordinal, room.executor), (step.slots, AttemptState.CLAIMED), self._at
        self._attempts += [(step.job, n, 1, *rest, token, *slots, at, None) for n, _, token in numbers]
        self._handed(room).alike(made, self._term, numbers)

    def _attempt(
        self,
        step: AnyRow,
        number: int,
        position: int,
        ordinal: int,
        room: Room,
        params: Mapping[str, Any] | None,
        memory: int,
    ) -> None:
        token = _TOKENS.getrandbits(52)  # exact in every JSON reader; it need not be secret, only another one each time
        job, about = step.job, step.ordinal
        state, at = AttemptState.CLAIMED, self._at
        had, env = given(step.needs, room.gpus) if step.needs else (None, None)
        self._attempts.append((job, number, ordinal, about, room.executor, token, step.slots, state, at, had))
        made = self._template(step)
        gathered = template.gathered(self._tx, step, number, params) if made.gathers else ()
        work = made.work(number, position, ordinal, token, self._term, params, gathered, memory)
        if env:
            work = replace(work, env={**work.env, **env})
        self._handed(room).add(work)

    def _handed(self, room: Room) -> Handed:
        return self._works.setdefault(room.executor, Handed())

    def _template(self, step: AnyRow) -> template.Template:
        key = (step.job, step.ordinal)
        if key not in self._templates:
            self._templates[key] = template.Template(step)
        return self._templates[key]

    def _write(self) -> None:
        tx = self._tx
        for advance in self._steps.values():
            _one(tx.execute(ADVANCE, advance.row()).rowcount, 1)
        if self._tasks:
            bulk.tuples(tx, _INSERT_TASKS, _TASK, self._tasks)
        if self._restarts:
            _one(bulk.execute(tx, _START_TASK, self._restarts).rowcount, len(self._restarts))
        bulk.tuples(tx, _INSERT_ATTEMPTS, _ATTEMPT, self._attempts)
        for job, more in self._jobs.items():
            tx.execute(_COUNT, {"j": job, "more": more})
            tx.execute(_BEGIN, {"j": job, "at": self._now})

    def _spend(self, table: Table, largest: int) -> None:
        """Remember virtual times, and who still waits for an executor as large as the `largest` here."""
        left = Waiting(self._tx, self._now, largest, held=self._held).pairs() | self._needy.left()
        left -= self._lacking
        self._tx.execute(_NOBODY_WAITS)
        self._tx.execute(_NO_OWNER_WAITS, {"lanes": [*table.owners, *self._reserved.full]})
        facts = table.lanes.facts(lane for lane, _ in left - self._reserved.barred)
        for lane, fact in {**facts, SYSTEM: Fact(table.lanes.system, False)}.items():
            if lane in table.lanes.known:
                self._tx.execute(_SPEND, {"l": lane, "v": fact.virtual, "b": fact.backlogged})
            else:
                self._tx.execute(_ADD_LANE, {"name": lane, "virtual_s": fact.virtual, "backlogged": fact.backlogged})
        for lane, owners in table.owners.items():
            self._spend_owners(lane, owners, {owner for name, owner in left if name == lane})

    def _spend_owners(self, lane: str, owners: Shares, left: Collection[str]) -> None:
        """Only what changed: there may be thousands of owners."""
        away = {o: Fact(f.virtual, False) for o, f in owners.known.items() if o not in owners.virtual}
        facts = {**away, **owners.facts(left)}
        facts[SYSTEM] = Fact(owners.system, False)
        rows = {o: fact for o, fact in facts.items() if owners.known.get(o) != fact}
        old = [{"l": lane, "o": o, "v": f.virtual, "b": f.backlogged} for o, f in rows.items() if o in owners.known]
        new = [
            {"lane": lane, "owner": o, "virtual_s": f.virtual, "backlogged": f.backlogged}
            for o, f in rows.items()
            if o not in owners.known
        ]
        if old:
            self._tx.execute(_SPEND_OWNER, old)
        if new:
            self._tx.execute(_ADD_OWNER, new)


def _better(rooms: Sequence[Room], candidate: Candidate) -> Sequence[Room]:
    """Executors on which the task has failed come last."""
    bad = _bad(candidate)
    return sorted(rooms, key=lambda room: room.executor in bad) if bad else rooms


def _bad(candidate: Candidate) -> Sequence[str]:
    return (candidate.row.failed_on or ()) if candidate.number is not None else ()


def _one(changed: int, expected: int) -> None:
    if changed != expected:
        raise RuntimeError(f"the queue moved under a claim: {changed} rows instead of {expected}")
