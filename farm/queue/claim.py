"""Who gets the next free slots: lanes, and owners inside a lane, by fair share; of an owner, earliest due first.

Claims are written before anything starts.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import Any

from sqlalchemy import Connection

from farm.clock import micros
from farm.model import AttemptState, TaskState
from farm.queue import early, template
from farm.queue.advance import Advance
from farm.queue.campaign import Halves
from farm.queue.entry import Entry
from farm.queue.handed import Handed, Number, Portion
from farm.queue.licence import Licences
from farm.queue.needs import given, needs_of
from farm.queue.needy import Needy
from farm.queue.reserved import Reserved
from farm.queue.room import Kept, Room, Rooms
from farm.queue.standing import Standing
from farm.queue.table import Table, shares_of
from farm.queue.waiting import Candidate, Queue, Waiting
from farm.tables import AnyRow
from schedules.model import Lane, Licence
from schedules.needs import Needs
from schedules.reserve import Allowed

_TOKENS = random.Random()
_LOOK = 64  # candidates of an owner looked at in one go; a claim that uses them all looks again at the next event

_ALIKE: Mapping[str, float] = {}
_NONE: Mapping[str, Licence] = {}


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
        self._entry, self._standing = Entry(self._at), Standing()
        self._works: dict[str, Handed] = {}
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
        if table and self._entry.attempts:
            self._write(table, max(room.slots for room in rooms))
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
        self._standing = standing = Standing.look(self._tx, self._now, largest)
        self._held = standing.held | frozenset(self.closed) | self._reserved.full
        claims = self._halves.claims
        more = self._licences.more
        self._needy = Needy(self._tx, self._now, self._rooms, self._held, claims)
        self._needy.look(standing.needy)
        waiting = Waiting(self._tx, self._now, max(1, free), largest=largest, held=self._held, claims=claims, more=more)
        waiting = replace(waiting, having=(standing.tasks, standing.steps))
        limit = sum(r.slots for r in rooms) + _LOOK
        self._halves.limit = limit + more
        table = self._table(waiting, limit)
        self._look_overdue(table, depth)
        while self.portion.more(len(self._entry.attempts)) and (turn := table.next()) and self._may(turn, depth):
            lane, owner, seconds = turn
            took = self._serve((lane, owner), table.queue(lane, owner), depth, seconds)
            if took is None:
                table.leave(lane, owner)
                if self._rooms.exhausted:
                    table.leave_wide()
            else:
                table.charge(lane, owner, took)
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
        standing = self._standing
        pairs = {pair for pair in standing.pairs if pair[0] not in self._held} | self._needy.pairs()
        pairs = self._reserved.paid(pairs)
        lanes = sorted({lane for lane, _ in pairs})
        owners = {lane: shares_of(standing.owners.get(lane, {}), self._owner_weight) for lane in lanes}
        table = Table(waiting, limit, shares_of(standing.lanes, self._weight), owners, self._needy)
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
            if taken := self._fill(candidate, _better(rooms, candidate), most, (deep, reach), alone=seconds == inf):
                if not candidate.remaining:
                    queue.remove(candidate)
                return float(taken * each)
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

    def _fill(self, candidate: Candidate, rooms: Sequence[Room], most: int, depth: tuple[int, int], alone: bool) -> int:
        """The first that takes any. Who is `alone` fills all, since it would be its turn again at once; but for what
        is near its end, and shared.

        How many were taken. `depth`: as such work goes behind slots, and as it does now.
        """
        step, taken, (deep, reach) = candidate.row, 0, depth
        needs = needs_of(step.needs) if step.needs else None
        alone = alone and candidate.number is None and not needs and not step.licences
        for room in rooms:
            may = self._licences.now.room(step.licences, room.executor) if step.licences else most
            if n := min(room.takes(needs) if needs else room.fits(step.slots, reach), most - taken, may):
                if needs:
                    room.begin(needs, n)
                else:
                    room.take(n * step.slots, deep)
                self._take(candidate, room, n)
                self._reserved.take(step.lane, 0 if deep else n * step.slots)
                self.portion.helped, taken = self.portion.helped + 1, taken + n
                more = self.portion.more(len(self._entry.attempts))
                if not (alone and more and candidate.remaining > deep * len(self._rooms.open)):
                    break
        return taken

    def _later(self, pair: tuple[str, str], candidate: Candidate, needs: Needs) -> None:
        """Others go before it until it is due; from then on what it needs is kept for it."""
        if candidate.due <= self._now:
            self._rooms.reserve(pair, candidate.row.job, needs, _bad(candidate))

    def _take(self, candidate: Candidate, room: Room, n: int) -> None:
        step = candidate.row
        candidate.remaining -= n
        if step.licences:
            self._licences.now.take(step.licences, room.executor, n)
        self._entry.began(step, n)
        if candidate.number is not None:
            self._again(candidate, room)
        else:
            self._advance(step, room, n)

    def _again(self, candidate: Candidate, room: Room) -> None:
        row = candidate.row
        ordinal = row.attempts + 1
        lead = self._halves.took(candidate)
        self._entry.restarts.append((row.job, row.number, ordinal, room.executor, lead))
        self._attempt(row, row.number, row.position, ordinal, room, row.params, row.task_memory)

    def _advance(self, step: AnyRow, room: Room, n: int) -> None:
        key = (step.job, step.ordinal)
        steps = self._entry.steps
        if key not in steps:
            steps[key] = Advance(step, early.positions(self._tx, step) if step.early else ())
        where, due, first = (step.lane, step.owner, step.slots, step.needs), micros(step.due), step.first_number
        same = (*key, *where, TaskState.RUNNING, due, 1, room.executor)
        positions, made = list(steps[key].take(n)), self._template(step)
        self._entry.tasks += [(*same, first + p, p, made.name(p)) for p in positions]
        if step.needs or not made.simple:
            for p in positions:
                self._attempt(step, first + p, p, 1, room, None, 0)
            return
        numbers = [Number(first + p, p, _TOKENS.getrandbits(52)) for p in positions]
        rest, slots, at = (step.ordinal, room.executor), (step.slots, AttemptState.CLAIMED), self._at
        self._entry.attempts += [(step.job, n, 1, *rest, token, *slots, at, None) for n, _, token in numbers]
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
        self._entry.attempts.append((job, number, ordinal, about, room.executor, token, step.slots, state, at, had))
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

    def _write(self, table: Table, largest: int) -> None:
        """With virtual times, and who still waits for an executor as large as the `largest` here."""
        left = None if self._needy.found else table.left()
        if left is None:
            self._entry.write(self._tx)
            left = Waiting(self._tx, self._now, largest, held=self._held).pairs() | self._needy.left()
        self._entry.spend(table, self._standing, self._reserved.paid(left) - self._lacking, self._reserved)
        self._entry.write(self._tx)


def _better(rooms: Sequence[Room], candidate: Candidate) -> Sequence[Room]:
    """Executors on which the task has failed come last."""
    bad = _bad(candidate)
    return sorted(rooms, key=lambda room: room.executor in bad) if bad else rooms


def _bad(candidate: Candidate) -> Sequence[str]:
    return (candidate.row.failed_on or ()) if candidate.number is not None else ()
