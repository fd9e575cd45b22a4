"""The farm of a replay as its policy sees it, kept up to date event by event: only what changed is made anew."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from farm.clock import from_micros
from farm.simulate.backlog import Backlog, Entry
from farm.simulate.machine import Machine
from schedules.demand import expected_end
from schedules.model import Busy, Demand, Executor, ExecutorState, Lane, Pool, Snapshot


@dataclass(slots=True)
class Run:
    """An attempt: since when, and for how long it is expected to run."""

    lane: str
    executor: str
    start: datetime
    predicted: timedelta


@dataclass(slots=True)
class Sight:
    """Snapshots share all that did not change between them."""

    lanes: tuple[Lane, ...]
    backlog: Backlog
    pools: dict[str, Pool]
    executors: dict[str, Executor] = field(default_factory=dict)
    _busy: dict[str, dict[int, Busy]] = field(default_factory=dict)  # lane → job
    _runs: dict[int, Run] = field(default_factory=dict)
    _ends: list[tuple[datetime, int]] = field(default_factory=list)  # expected

    def snapshot(self, now: datetime) -> Snapshot:
        self._renew(now)
        waiting, busy = self.backlog.seen, self._busy
        lanes = sorted(name for name in {*waiting, *busy} if waiting.get(name) or busy.get(name))
        demand = tuple(Demand(n, tuple(waiting.get(n, {}).values()), tuple(busy.get(n, {}).values())) for n in lanes)
        return Snapshot(now, self.lanes, tuple(self.pools.values()), tuple(self.executors.values()), demand)

    def _renew(self, now: datetime) -> None:
        """Attempts that outlived what was expected are expected to take longer."""
        while self._ends and self._ends[0][0] < now:
            _, job = heapq.heappop(self._ends)
            if job in self._runs:
                self._expect(job, now)

    def _expect(self, job: int, now: datetime) -> None:
        run = self._runs[job]
        end = expected_end(run.start, run.predicted, now)
        self._busy.setdefault(run.lane, {})[job] = Busy(end, 1, run.executor)
        heapq.heappush(self._ends, (end, job))

    def began(self, entry: Entry, machine: Machine, now: int) -> None:
        start = from_micros(now)
        self._runs[entry.job.number] = Run(entry.lane, machine.id, start, entry.seen.predicted)
        self._expect(entry.job.number, start)
        self.machine(machine)

    def at_work(self, lanes: Iterable[str]) -> int:
        """Slots that jobs of these lanes have."""
        return sum(len(self._busy.get(lane, ())) for lane in lanes)

    def ended(self, job: int, machine: Machine) -> None:
        run = self._runs.pop(job)
        del self._busy[run.lane][job]
        self.machine(machine)

    def machine(self, machine: Machine) -> None:
        """It changed."""
        if machine.gone:
            self.executors.pop(machine.id, None)
            return
        state: ExecutorState = "ready" if machine.ready else "booting"
        idle = from_micros(machine.idle_since) if machine.ready and not machine.at else None
        since, offer = from_micros(machine.asked), machine.offer
        self.executors[machine.id] = Executor(machine.id, offer.name, state, offer.slots, len(machine.at), since, idle)
