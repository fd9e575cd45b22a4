"""A queue with a clock that the tests turn, and an executor that answers when it is told to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from executors.contract import Event, EventKind, FileRef, Work
from farm import read
from farm.acts import By
from farm.clock import TurnedClock, micros
from farm.config import FarmConfig
from farm.db import Database
from farm.feed import Feed
from farm.model import JobSpec, StepSpec
from farm.queue import settle
from farm.queue.claim import Claim
from farm.queue.retry import retry
from farm.queue.room import Room
from farm.queue.settle import Settled
from farm.queue.submit import submit
from farm.reference import parse_reference
from farm.steering import Steering

ON_ONE = pytest.mark.parametrize("db", ["sqlite"], indirect=True)
"""Long, and about arithmetic that is the same on every database."""
LANES = FarmConfig().all_lanes()
MOST_MEMORY = 8 << 30


@dataclass
class _Steered:
    """As much of a farm as steering needs."""

    db: Database
    config: FarmConfig
    sites: None = None
    feed: Feed = field(default_factory=Feed)
    wake: Callable[[], None] = lambda: None


@dataclass
class QueueFarm:
    """Submits, claims and finishes against a database."""

    db: Database
    clock: TurnedClock = field(default_factory=TurnedClock)

    def submit(self, *steps: StepSpec, **options: object) -> int:
        spec = JobSpec.model_validate({"name": "job", "owner": "ada", "steps": steps, **options})
        with self.db.write() as tx:
            return submit(tx, spec, LANES, self.clock.now())

    def claim(
        self, slots: int = 1, executor: str = "e1", depth: Mapping[tuple[int, int], int] | None = None
    ) -> list[Work]:
        """What an empty executor of that many slots gets."""
        with self.db.write() as tx:
            works = Claim(tx, LANES, 1, self.clock.now()).fill([Room(executor, slots, 0)], depth or {})
        return list(works.get(executor, ()))

    def claim_in(self, room: Room) -> list[Work]:
        """What an executor gets that has work already."""
        with self.db.write() as tx:
            works = Claim(tx, LANES, 1, self.clock.now()).fill([room], {})
        return list(works.get(room.executor, ()))

    def claim_on(self, executors: Mapping[str, int]) -> Mapping[str, Sequence[Work]]:
        """What these empty executors, by name and slots, get; the first is offered work first."""
        with self.db.write() as tx:
            rooms = [Room(name, slots, 0) for name, slots in executors.items()]
            return Claim(tx, LANES, 1, self.clock.now()).fill(rooms, {})

    def finish(self, works: Iterable[Work], executor: str = "e1", **facts: object) -> Settled:
        """They ended a second after now, with exit 0 unless told otherwise."""
        started = micros(self.clock.now()) * 1000
        self.clock.turn(1)
        shape = {"started": started, "at": micros(self.clock.now()) * 1000, **facts}
        events = [(executor, _finished(work, shape)) for work in works]
        with self.db.write() as tx:
            return settle.finished(tx, events, self.clock.now(), MOST_MEMORY)

    def run(self, job: int, fail: Callable[[Work], bool] = lambda _: False, slots: int = 4) -> list[str]:
        """Until nothing is left to claim; the attempts in the order in which they were handed out."""
        order: list[str] = []
        while works := self.claim(slots):
            order += [work.attempt for work in works]
            self.finish([w for w in works if not fail(w)])
            self.finish([w for w in works if fail(w)], exit=3)
        return order

    def retry(self, ref: str) -> int:
        """How many tasks go again."""
        with self.db.write() as tx:
            return retry(tx, parse_reference(ref))[0]

    def steering(self, config: FarmConfig, by: By) -> Steering:
        """What a person may do to this queue."""
        return Steering(_Steered(self.db, config), by)

    def counts(self, job: int) -> dict[str, int]:
        """State → number of its tasks, where there are any."""
        tasks = dict(self.job(job)["tasks"])  # type: ignore[call-overload]
        return {state: n for state, n in tasks.items() if n and state not in ("total", "claimed")}

    def state(self, job: int) -> str:
        return str(self.job(job)["state"])

    def job(self, job: int) -> dict[str, object]:
        with self.db.read() as tx:
            return read.job(tx, job)

    def tasks(self, job: int) -> dict[str, str]:
        """Name → state of the tasks that have rows."""
        with self.db.read() as tx:
            return {task["name"]: str(task["state"]) for task in read.tasks(tx, job, "", 10_000, 0)}


def _finished(work: Work, shape: Mapping[str, object]) -> Event:
    return Event(1, EventKind.FINISHED, work.attempt, work.token, **shape)  # type: ignore[arg-type]


def made(name: str, content: str = "0") -> FileRef:
    """An output file whose content is one hex digit, repeated."""
    return FileRef(f"dist/{name}", content * 64, 3)


def of(work: Work) -> int:
    """The job that an attempt belongs to."""
    return int(work.attempt.split(".")[0])
