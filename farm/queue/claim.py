"""Who gets the next free slots: lane by fair share, then earliest due. Claims are written before anything starts."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, insert, or_, select, update

from executors.contract import Work
from farm import bulk
from farm import tables as t
from farm.model import AttemptState, JobState, TaskState
from farm.queue import template
from farm.tables import AnyRow
from schedules.model import Lane
from schedules.ordering import Turn, ends_first, next_lane

_OPEN = (JobState.QUEUED, JobState.RUNNING)
_TOKENS = random.Random()
_LOOK = 64  # candidates of a lane looked at in one go; a claim that uses them all looks again at the next event
_SYSTEM = ""  # no lane has this name: the row of the virtual time of whoever was served last

_STEPS = (
    select(t.Step, t.Job.lane, t.Job.owner, t.Job.state.label("job_state"))
    .join(t.Job, t.Job.id == t.Step.job)
    .where(t.Step.state == "ready", t.Step.next < t.Step.total, t.Job.state.in_(_OPEN))
    .where(t.Job.lane == bindparam("lane"), t.Step.slots <= bindparam("slots"))
    .order_by(t.Step.due, t.Step.job, t.Step.ordinal)
    .limit(bindparam("limit"))
)
_TASKS = (
    select(
        t.Task.job.label("task_job"),
        t.Task.number,
        t.Task.position,
        t.Task.name.label("task_name"),
        t.Task.params,
        t.Task.attempts,
        t.Task.due.label("task_due"),
        t.Task.memory.label("task_memory"),
        t.Task.failed_on,
        t.Step,
        t.Job.lane,
        t.Job.owner,
        t.Job.state.label("job_state"),
    )
    .join(t.Step, and_(t.Step.job == t.Task.job, t.Step.ordinal == t.Task.step))
    .join(t.Job, t.Job.id == t.Task.job)
    .where(t.Task.state == TaskState.READY, t.Job.state.in_(_OPEN))
    .where(or_(t.Task.not_before.is_(None), t.Task.not_before <= bindparam("now", type_=t.Utc())))
    .where(t.Job.lane == bindparam("lane"), t.Step.slots <= bindparam("slots"))
    .order_by(t.Task.due, t.Task.job, t.Task.number)
    .limit(bindparam("limit"))
)
_ADVANCE = (
    update(t.Step)
    .where(t.Step.job == bindparam("j"), t.Step.ordinal == bindparam("o"), t.Step.next == bindparam("was"))
    .values(next=bindparam("now_next"))
)
_INSERT_TASKS = insert(t.Task)
_START_TASK = (
    update(t.Task)
    .where(t.Task.job == bindparam("j"), t.Task.number == bindparam("n"), t.Task.state == TaskState.READY)
    .values(state=TaskState.RUNNING, attempts=bindparam("ordinal"), executor=bindparam("on"))
)
_INSERT_ATTEMPTS = insert(t.Attempt)
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
_OPEN_LANES = select(t.Job.lane).where(t.Job.state.in_(_OPEN)).distinct()
_LANES = select(t.LaneFact.name, t.LaneFact.virtual_s, t.LaneFact.backlogged)
_NOBODY_WAITS = update(t.LaneFact).values(backlogged=False)
_SPEND = (
    update(t.LaneFact)
    .where(t.LaneFact.name == bindparam("l"))
    .values(virtual_s=bindparam("v"), backlogged=bindparam("b"))
)
_ADD_LANE = insert(t.LaneFact)


@dataclass(slots=True)
class Room:
    """An executor that takes work."""

    executor: str
    slots: int
    taken: int  # slots of attempts it already has, waiting ones included

    def fits(self, slots: int, depth: int) -> int:
        """How many tasks of this size it takes now: into free slots, and `depth` short ones behind each slot."""
        if slots > self.slots:
            return 0
        limit = (1 + depth) * self.slots if slots == 1 else self.slots
        return max(0, (limit - self.taken) // slots)


@dataclass(slots=True)
class _Candidate:
    """A step with positions left, or a single ready task (`number`)."""

    row: AnyRow
    remaining: int
    number: int | None = None


class Claim:
    """One pass over the queue inside one transaction."""

    def __init__(self, tx: Connection, lanes: Mapping[str, Lane], term: int, now: datetime) -> None:
        self._tx, self._lanes, self._term, self._now = tx, lanes, term, now
        self._tasks: list[dict[str, Any]] = []
        self._restarts: list[dict[str, Any]] = []
        self._attempts: list[dict[str, Any]] = []
        self._steps: dict[tuple[int, int], tuple[int, int]] = {}
        self._works: dict[str, list[Work]] = {}
        self._jobs: dict[int, int] = {}
        self._known: dict[str, AnyRow] = {row.name: row for row in tx.execute(_LANES)}
        self._system = self._known[_SYSTEM].virtual_s if _SYSTEM in self._known else 0.0

    def fill(self, rooms: Sequence[Room], depth: Mapping[tuple[int, int], int]) -> dict[str, list[Work]]:
        """Hand out work to `rooms`. `depth`: (job, step) → how many short tasks may wait behind a slot's own."""
        lanes = sorted(self._tx.execute(_OPEN_LANES).scalars())
        virtual = {lane: self._virtual(lane) for lane in lanes}
        queues = self._queues(lanes, rooms)
        while queues:
            turns = [Turn(name, virtual[name], self._weight(name)) for name in queues]
            lane = next_lane(turns) or turns[0].lane
            took = self._serve(queues[lane], rooms, depth)
            if took is None:
                del queues[lane]
                continue
            self._system = max(self._system, virtual[lane])
            virtual[lane] += took / self._weight(lane)
        if self._attempts:
            self._write()
            self._spend(virtual, max(r.slots for r in rooms))
        return self._works

    def _weight(self, lane: str) -> float:
        """A lane that left farm.toml while its jobs waited goes on with weight 1."""
        return self._lanes[lane].weight if lane in self._lanes else 1.0

    def _queues(self, lanes: Iterable[str], rooms: Sequence[Room]) -> dict[str, list[_Candidate]]:
        """By lane, earliest due first: no larger than what is free somewhere, for these would hide what fits."""
        free = max((r.slots - r.taken for r in rooms), default=0)
        limit = sum(r.slots for r in rooms) + _LOOK
        found = {lane: self._look(lane, max(1, free), limit) for lane in lanes}  # 1: it may wait behind a slot's own
        return {lane: queue for lane, queue in found.items() if queue}

    def _look(self, lane: str, slots: int, limit: int) -> list[_Candidate]:
        about = {"lane": lane, "slots": slots, "limit": limit}
        found = [_Candidate(r, 1, r.number) for r in self._tx.execute(_TASKS, about | {"now": self._now})]
        found += [_Candidate(r, r.total - r.next) for r in self._tx.execute(_STEPS, about)]
        return sorted(found, key=lambda c: c.row.task_due if c.number else c.row.due)

    def _virtual(self, lane: str) -> float:
        """A lane's virtual time, by start-time fair queueing.

        A lane that had work waiting all the time keeps its own: it is owed what it was not given. One that had none
        starts where the farm is now, or later if it is ahead: it has no claim on the time when it asked for nothing.
        """
        row = self._known.get(lane)
        if row is None:
            return self._system
        return float(row.virtual_s if row.backlogged else max(row.virtual_s, self._system))

    def _serve(
        self, queue: list[_Candidate], rooms: Sequence[Room], depth: Mapping[tuple[int, int], int]
    ) -> float | None:
        """Take as much as fits of the first candidate that fits anywhere: predicted slot-seconds, None if none does."""
        for candidate in queue:
            step = candidate.row
            for room in _better(rooms, candidate):
                n = room.fits(step.slots, depth.get((step.job, step.ordinal), 0))
                if n := min(n, candidate.remaining):
                    self._take(candidate, room, n)
                    if not candidate.remaining:
                        queue.remove(candidate)
                    return float(n * step.slots * step.predicted_s)
        return None

    def _take(self, candidate: _Candidate, room: Room, n: int) -> None:
        step = candidate.row
        room.taken += n * step.slots
        candidate.remaining -= n
        self._jobs[step.job] = self._jobs.get(step.job, 0) + n
        if candidate.number is not None:
            self._again(candidate, room)
        else:
            self._advance(step, room, n)

    def _again(self, candidate: _Candidate, room: Room) -> None:
        row = candidate.row
        ordinal = row.attempts + 1
        self._restarts.append({"j": row.job, "n": row.number, "ordinal": ordinal, "on": room.executor})
        self._attempt(row, row.number, row.position, ordinal, room, row.params, row.task_memory)

    def _advance(self, step: AnyRow, room: Room, n: int) -> None:
        key = (step.job, step.ordinal)
        was, first = self._steps.get(key, (step.next, step.next))
        self._steps[key] = (was, first + n)
        for k in range(first, first + n):
            position = ends_first(k, step.total) if step.order == "ends-first" else k
            number = step.first_number + position
            self._tasks.append(
                {
                    "job": step.job,
                    "number": number,
                    "step": step.ordinal,
                    "position": position,
                    "name": template.name(step, position),
                    "state": TaskState.RUNNING,
                    "due": step.due,
                    "attempts": 1,
                    "executor": room.executor,
                }
            )
            self._attempt(step, number, position, 1, room, None, 0)

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
        self._attempts.append(
            {
                "job": step.job,
                "number": number,
                "ordinal": ordinal,
                "executor": room.executor,
                "token": token,
                "slots": step.slots,
                "state": AttemptState.CLAIMED,
                "claimed": self._now,
            }
        )
        gathered = template.gathered(self._tx, step, number, params)
        work = template.work(step, number, position, ordinal, token, self._term, params, gathered, memory)
        self._works.setdefault(room.executor, []).append(work)

    def _write(self) -> None:
        tx = self._tx
        for (job, ordinal), (was, now_next) in self._steps.items():
            _one(tx.execute(_ADVANCE, {"j": job, "o": ordinal, "was": was, "now_next": now_next}).rowcount, 1)
        if self._tasks:
            bulk.execute(tx, _INSERT_TASKS, self._tasks)
        if self._restarts:
            _one(bulk.execute(tx, _START_TASK, self._restarts).rowcount, len(self._restarts))
        bulk.execute(tx, _INSERT_ATTEMPTS, self._attempts)
        for job, more in self._jobs.items():
            tx.execute(_COUNT, {"j": job, "more": more})
            tx.execute(_BEGIN, {"j": job, "at": self._now})

    def _spend(self, virtual: Mapping[str, float], largest: int) -> None:
        """Remember virtual times, and who still waits for an executor as large as the `largest` here."""
        waiting = {lane for lane in virtual if self._look(lane, largest, 1)}
        if not waiting:  # nobody is behind: whoever comes next starts behind all that was served
            self._system = max(self._system, *virtual.values())
        self._tx.execute(_NOBODY_WAITS)
        for lane, value in {**virtual, _SYSTEM: self._system}.items():
            if lane in self._known:
                self._tx.execute(_SPEND, {"l": lane, "v": value, "b": lane in waiting})
            else:
                self._tx.execute(_ADD_LANE, {"name": lane, "virtual_s": value, "backlogged": lane in waiting})


def _better(rooms: Sequence[Room], candidate: _Candidate) -> Sequence[Room]:
    """Executors on which the task has failed come last."""
    bad = candidate.row.failed_on if candidate.number is not None else None
    return sorted(rooms, key=lambda room: room.executor in bad) if bad else rooms


def _one(changed: int, expected: int) -> None:
    if changed != expected:
        raise RuntimeError(f"the queue moved under a claim: {changed} rows instead of {expected}")
