"""A whole farm in one thread: the real queue, wheel, ledger and sync; a cloud in memory; a gateway that is a toy."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from executors.contract import Event, EventKind, MachineState, Ready, Running, Work
from executors.simulated import Cloud, SimulatedOptions, SimulatedProvider
from executors.site.protocol import Answer, Message, Report
from farm import fleet, ledger, read
from farm import tables as t
from farm.acts import By
from farm.clock import TurnedClock, micros
from farm.config import FarmConfig
from farm.db import Database
from farm.dispatch import Dispatcher
from farm.feed import Feed
from farm.model import JobSpec
from farm.queue.submit import submit
from farm.reconcile import Fleet, current_prices, reconcile
from farm.sites import Sites
from farm.steering import Steering
from schedules.policy import default

Duration = Callable[[Work], float]
Exit = Callable[[Work], int]


@dataclass
class ToyGateway:
    """Runs attempts by the clock, one conversation at a time; forgets everything when it is restarted."""

    farm: "SimulatedFarm"
    session: str = "s1"
    term: int = 0
    received: int = 0
    attached: dict[str, int] = field(default_factory=dict)
    running: dict[str, tuple[str, Work, datetime]] = field(default_factory=dict)  # attempt → executor, work, start
    seq: dict[str, int] = field(default_factory=dict)
    pending: dict[str, list[Event]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def talk(self) -> None:
        """One exchange, and another with the snapshot when the farm asks for it."""
        self._finish()
        report = self._report()
        answer = self.farm.sites.sync(report)
        if answer.settle:
            self.term, self.received = answer.term, 0
            answer = self.farm.sites.sync(self._report(snapshot=True))
        self._hear(answer)

    def _report(self, snapshot: bool = False) -> Report:
        known = [Running(x, a, w.token, "running") for a, (x, w, _) in self.running.items()]
        lost, self.lost = tuple(self.lost), []
        return Report(
            self.session,
            self.term,
            self.received,
            ready=tuple(Ready(x, n) for x, n in self.attached.items() if self._up(x)),
            lost=lost,
            events={} if snapshot else {x: list(e) for x, e in self.pending.items() if e},
            snapshot=tuple(known) if snapshot else None,
        )

    def _up(self, executor: str) -> bool:
        return any(m.id == executor and m.state == MachineState.RUNNING for m in self.farm.provider.machines())

    def _hear(self, answer: Answer) -> None:
        for executor, upto in answer.acknowledged.items():
            self.pending[executor] = [e for e in self.pending.get(executor, []) if e.seq > upto]
        for message in answer.messages:
            if message.n > self.received:
                self.received = message.n
                self._obey(message)

    def _obey(self, message: Message) -> None:
        now = self.farm.clock.now()
        if message.kind == "attach":
            self.attached[message.executor] = message.slots
        elif message.kind == "start":
            for work in message.works:
                if self._up(message.executor):
                    self.running.setdefault(work.attempt, (message.executor, work, now))
        elif message.kind == "cancel":
            for attempt in message.attempts:
                if found := self.running.pop(attempt, None):
                    executor, work, start = found
                    self._ended(executor, work, start, now, exit=-15, cause="cancelled")
        elif message.kind == "stop":
            self.farm.cloud.end([message.executor])
            self.forget(message.executor)

    def _finish(self) -> None:
        now = self.farm.clock.now()
        for attempt, (executor, work, start) in sorted(self.running.items()):
            end = start + timedelta(seconds=self.farm.duration(work))
            if end > now:
                continue
            del self.running[attempt]
            self._ended(executor, work, start, end, exit=self._exit(executor, work))

    def _ended(self, executor: str, work: Work, start: datetime, end: datetime, **how: Any) -> None:
        self.seq[executor] = self.seq.get(executor, 0) + 1
        times = {"started": micros(start) * 1000, "at": micros(end) * 1000}
        event = Event(self.seq[executor], EventKind.FINISHED, work.attempt, work.token, **times, **how)
        self.pending.setdefault(executor, []).append(event)

    def _exit(self, executor: str, work: Work) -> int:
        return 99 if self.farm.broken(executor) else self.farm.exit(work)

    def forget(self, executor: str) -> None:
        """It is gone, and what ran there with it."""
        if self.attached.pop(executor, None):
            self.lost.append(executor)
        self.running = {a: r for a, r in self.running.items() if r[0] != executor}
        self.pending.pop(executor, None)


class SimulatedFarm:
    """Turn its clock and see what it does."""

    def __init__(self, database: Path, config: FarmConfig, options: SimulatedOptions, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.clock, self.config, self.options = TurnedClock(), config, options
        self.db = Database.file(database)
        self.cloud = Cloud(options, self.clock)
        self.duration: Duration = lambda _work: 10.0
        self.exit: Exit = lambda _work: 0
        self.broken: Callable[[str], bool] = lambda _executor: False  # whatever runs there fails
        self.term = 0
        self.restart()
        self.gateway = ToyGateway(self)

    def restart(self) -> None:
        """A new service on the same database."""
        self.term += 1
        self.provider = SimulatedProvider(self.cloud, "cloud")
        feed = self.feed = Feed()
        dispatcher = Dispatcher(self.config.all_lanes(), self.term, windows=self.config.windows())
        self.sites = Sites(self.db, self.clock, dispatcher, Path("/nonexistent"), feed, lambda: None, 60)
        self.fleet = Fleet(self.db, self.clock, self.config, {"cloud": self.provider}, default, self.sites, feed)
        self.fleet.began = self.clock.now()

    def wake(self) -> None:
        """The wheel turns with the clock."""

    def steer(self, who: str = "eva", why: str = "") -> Steering:
        """What a person may do to it."""
        return Steering(self, By(who, why, self.clock.now()))

    def submit(self, *steps: Any, **options: Any) -> int:
        spec = JobSpec.model_validate({"name": "job", "owner": "ada", "steps": steps, **options})
        with self.db.write() as tx:
            return submit(tx, spec, self.config.all_lanes(), self.clock.now())

    def turn(self, seconds: float = 1.0) -> None:
        """Time passes; everything gets its chance."""
        self.clock.turn(seconds)
        self.gateway.talk()
        self.fleet.list_machines()
        reconcile(self.fleet)
        self.gateway.talk()

    def run(self, limit: int = 5000, each: Callable[[], None] = lambda: None) -> int:
        """Until no job is open and no machine is left; how many turns it took."""
        for turns in range(limit):
            self.turn(1 if self.gateway.running or self.machines() else 10)
            each()
            if not self.open_jobs() and not self.alive() and not self._orders():
                return turns
        raise AssertionError(f"not at rest after {limit} turns: {self.open_jobs()} jobs, {self.alive()} executors")

    def break_down(self, executor: str) -> None:
        """Its machine ends; the gateway may notice first, or the listing may."""
        self.cloud.break_down(executor)
        if self.random.random() < 0.5:
            self.gateway.forget(executor)
        else:
            self.gateway.running = {a: r for a, r in self.gateway.running.items() if r[0] != executor}
            self.gateway.attached.pop(executor, None)
            self.gateway.pending.pop(executor, None)

    def open_jobs(self) -> int:
        with self.db.read() as tx:
            query = select(func.count()).where(t.Job.state.in_(["queued", "running", "held"]))
            return tx.execute(query).scalar_one()

    def alive(self) -> list[str]:
        with self.db.read() as tx:
            return [row.id for row in fleet.alive(tx)]

    def machines(self) -> list[str]:
        return [m.id for m in self.provider.machines() if m.state != MachineState.ENDED]

    def _orders(self) -> int:
        with self.db.read() as tx:
            return tx.execute(select(func.count()).where(t.Order.state == "open")).scalar_one()

    def job(self, number: int) -> dict[str, Any]:
        with self.db.read() as tx:
            return read.job(tx, number)

    def book(self) -> None:
        now = self.clock.now()
        with self.db.write() as tx:
            ledger.record(tx, now, current_prices(self.fleet, tx, now))
