"""A farm that is nothing but its order: the queue's own turns and due dates, slots, and tasks that take time."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

from farm.queue.shares import Fact, Shares
from schedules.model import Lane
from schedules.ordering import Half, due, first_ready, half, paths

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Task:
    """Times in seconds from noon."""

    owner: str
    length: float
    lane: str = "default"
    arrival: float = 0.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    task: Task
    at: float

    @property
    def wait(self) -> float:
        return self.at - self.task.arrival


@dataclass(slots=True)
class OrderFarm:
    """`slots` that are never idle while something waits."""

    slots: int
    lanes: Mapping[str, Lane]
    owners: Mapping[str, float] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)
    _waiting: dict[tuple[str, str], list[tuple[datetime, int, Task]]] = field(default_factory=dict)
    _facts: dict[str, tuple[dict[str, Fact], float]] = field(default_factory=dict)  # "" of lanes, else of their owners

    def run(self, tasks: Iterable[Task], until: float = float("inf")) -> Sequence[Start]:
        """Every start, in order."""
        coming = sorted(tasks, key=lambda task: task.arrival)
        ends: list[float] = []
        now, n = 0.0, 0
        while now <= until:
            while n < len(coming) and coming[n].arrival <= now:
                self._arrive(coming[n], n)
                n += 1
            while ends and ends[0] <= now:
                heappop(ends)
            for task in self._claim(self.slots - len(ends)):
                self.starts.append(Start(task, now))
                heappush(ends, now + task.length)
            following = [*ends[:1], *(task.arrival for task in coming[n : n + 1])]
            if not following:
                break
            now = min(following)
        return self.starts

    def _arrive(self, task: Task, n: int) -> None:
        at = NOON + timedelta(seconds=task.arrival)
        wanted = due(at, timedelta(seconds=task.length), self.lanes[task.lane], task.priority)
        heappush(self._waiting.setdefault((task.lane, task.owner), []), (wanted, n, task))

    def _claim(self, free: int) -> list[Task]:
        """One claim, as the queue makes it: turns are remembered from one to the next."""
        lanes = self._shares("", lambda name: self.lanes[name].weight)
        present = {lane: {o for name, o in self._waiting if name == lane} for lane, _ in self._waiting}
        owners = {lane: self._shares(lane, lambda name: self.owners.get(name, 1.0)) for lane in present}
        lanes.join(present)
        for lane, shares in owners.items():
            shares.join(present[lane])
        out: list[Task] = []
        while present and len(out) < free:
            lane, _ = lanes.next(present)
            owner, _ = owners[lane].next(present[lane])
            task = self._take(lane, owner, present)
            lanes.charge(lane, task.length)
            owners[lane].charge(owner, task.length)
            out.append(task)
        self._facts |= {lane: (_kept(shares, present.get(lane, ())), shares.system) for lane, shares in owners.items()}
        self._facts[""] = (_kept(lanes, present), lanes.system)
        return out

    def _shares(self, of: str, weight: Callable[[str], float]) -> Shares:
        known, system = self._facts.get(of, ({}, 0.0))
        return Shares(known, system, weight)

    def _take(self, lane: str, owner: str, present: dict[str, set[str]]) -> Task:
        queue = self._waiting[lane, owner]
        task = heappop(queue)[2]
        if not queue:
            del self._waiting[lane, owner]
            present[lane].discard(owner)
            if not present[lane]:
                del present[lane]
        return task


def _kept(shares: Shares, waiting: Iterable[str]) -> dict[str, Fact]:
    gone = {name: Fact(fact.virtual, False) for name, fact in shares.known.items()}
    return gone | shares.facts(waiting)


def campaign(
    lengths: Mapping[str, float],
    after: Mapping[str, Collection[str]],
    slots: int,
    predicted: Mapping[str, float] | None = None,
    only: Half | None = None,
) -> dict[str, float]:
    """When each of the tasks begins, in seconds; `only` one of the two halves takes all slots."""
    guess = predicted or lengths
    path, left = paths(guess, after), {name: set(after.get(name, ())) for name in lengths}
    running: list[tuple[float, str, Half]] = []
    starts: dict[str, float] = {}
    now = 0.0
    while len(starts) < len(lengths):
        while len(running) < slots and (ready := [n for n in lengths if n not in starts and not left[n]]):
            held = [which for _, _, which in running]
            turn: Half = only or half(held.count("path"), held.count("short"))
            name = first_ready(ready, turn, guess, path)
            starts[name] = now
            heappush(running, (now + lengths[name], name, turn))
        now, ended, _ = heappop(running)
        for waits in left.values():
            waits.discard(ended)
    return starts


def makespan(starts: Mapping[str, float], lengths: Mapping[str, float]) -> float:
    return max(at + lengths[name] for name, at in starts.items())
