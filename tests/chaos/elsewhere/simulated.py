"""A cloud in memory, by a clock that is turned: the farm's own wheel, queue, ledger and conversations, and every fault
that needs no machine. Nothing runs, so there are no logs; each task leaves a file that names its attempt."""

import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from zlib import crc32

from executors.contract import Event, FileRef
from executors.simulated import Fault, SimulatedOptions
from executors.store import FolderStore
from farm.clock import Clock
from farm.config import FarmConfig
from farm.db import Database, migrate
from farm.integrity import examine
from farm.reconcile import reconcile, retire
from tests.chaos.elsewhere.errand import RETRIES, ask, done
from tests.chaos.elsewhere.run import Outcome
from tests.properties.simulated_farm import SimulatedFarm, ToyGateway

LEASE_S = 60
HOUR = 3600.0
TURNS = 3000


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


@dataclass
class Wall:
    """What the service sees; machines and tasks go on by the true one."""

    true: Clock
    off: timedelta = timedelta()

    def now(self) -> datetime:
        return self.true.now() + self.off


@dataclass
class Gateway(ToyGateway):
    """One that can be cut off, and whose executors can be frozen; what they finish has a file in the store."""

    store: FolderStore | None = None
    cut: bool = False
    frozen: dict[str, object] = field(default_factory=dict)  # executor → what it was running

    def talk(self) -> None:
        if self.cut:
            self._finish()
        else:
            super().talk()

    def _finish(self) -> None:
        held = {a: r for a, r in self.running.items() if r[0] in self.frozen}
        for attempt in held:
            del self.running[attempt]
        super()._finish()
        self.running.update(held)
        self.pending = {x: [self._with_file(e) for e in events] for x, events in self.pending.items()}

    def _with_file(self, event: Event) -> Event:
        if event.exit or event.outputs or self.store is None:
            return event
        data = event.attempt.encode()
        return replace(event, outputs=(FileRef("out", self.store.put_bytes(data), len(data)),))


class Full:
    """A provider whose disk is full: it can't write its books."""

    def __init__(self, provider: object) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> object:
        if name in ("launch", "terminate", "machines"):
            return self._fails
        return getattr(self._provider, name)

    def _fails(self, *_words: object) -> None:
        raise OSError(28, "No space left on device")


class Story:
    """The farm and its faults."""

    def __init__(self, folder: Path, choose: random.Random) -> None:
        pool = {"provider": "simulated", "slots": choose.choice([1, 2]), "ceiling": 4, "boot": 5, "idle": 10,
                "price_per_hour": "0.777777777"}  # fmt: skip
        config = FarmConfig.model_validate({"pools": {"cloud": pool}})
        self.database, self.choose, seed = folder / "farm.db", choose, choose.randrange(10**6)
        db = Database.file(self.database)
        migrate(db, "farm.db")
        db.close()
        options = SimulatedOptions(boot_s=5, boot_spread=0.8, ceiling=4, slots=pool["slots"], seed=seed)  # type: ignore[arg-type]
        self.farm = SimulatedFarm(self.database, config, options, seed)
        self.store = FolderStore(folder / "store")
        self.gateway = self.farm.gateway = Gateway(self.farm, store=self.store)
        self.wall = Wall(self.farm.clock)
        self._wear()
        self.farm.duration = lambda work: 1.0 + crc32(f"{seed}/{work.attempt}".encode()) % 20
        self.farm.exit = lambda work: 9 if work.argv[0] == "fails" and work.attempt.endswith(".1") else 0

    def _wear(self) -> None:
        self.farm.fleet.clock = self.farm.sites._clock = self.wall

    def turn(self, seconds: float = 1) -> None:
        for _ in range(int(seconds)):
            self.farm.clock.turn(1)
            self.gateway.talk()
            self.farm.fleet.list_machines()
            self.step()
            self.gateway.talk()

    def step(self) -> None:
        reconcile(self.farm.fleet)
        retire(self.farm.fleet)

    # ── faults ──

    def kill(self) -> None:
        if found := self.farm.machines():
            self.farm.break_down(self.choose.choice(found))

    def kill_service(self) -> None:
        away = self.choose.choice([0, 3, 20, LEASE_S + 20])
        self._apart(away)
        self.farm.restart()
        self._wear()

    def kill_gateway(self) -> None:
        self.gateway.session += "'"
        self.gateway.term = self.gateway.received = 0

    def cut(self) -> None:
        """Of the gateway: nothing is heard nor said."""
        self.gateway.cut = True
        long = self.choose.random() < 0.5
        self.turn(LEASE_S + 15 if long else self.choose.randint(1, LEASE_S - 10))
        if long:
            self._ended()
        self.gateway.cut = False

    def _apart(self, seconds: int) -> None:
        """The service is away: executors work on, until their lease is over."""
        for _ in range(seconds):
            self.farm.clock.turn(1)
            self.gateway._finish()
        if seconds > LEASE_S:
            self._ended()

    def _ended(self) -> None:
        """They have ended themselves, and what they had not told by then they tell no more."""
        for executor in list(self.gateway.attached):
            self.farm.cloud.end([executor])
            self.gateway.forget(executor)

    def freeze(self) -> None:
        if found := sorted(self.gateway.attached):
            name = self.choose.choice(found)
            self.gateway.frozen[name] = True
            self.turn(self.choose.randint(2, 40))
            if self.choose.random() < 0.4:  # too long: whoever asks it gives it up
                self.farm.break_down(name)
            self.gateway.frozen.pop(name)

    def slow(self) -> None:
        """Machines that are bought now need minutes to boot."""
        before = self.farm.cloud.options
        self.farm.cloud.options = before.model_copy(update={"boot_s": self.choose.choice([60.0, 200.0, 1000.0])})
        self.turn(self.choose.randint(5, 40))
        self.farm.cloud.options = before

    def sold_out(self) -> None:
        self.farm.cloud.faults.extend(self.choose.choices(list(Fault), k=self.choose.randint(1, 3)))

    def full(self) -> None:
        providers = self.farm.fleet.providers
        self.farm.fleet.providers = {"cloud": Full(self.farm.provider)}  # type: ignore[dict-item]
        self.turn(self.choose.randint(3, 60))
        self.farm.fleet.providers = providers

    def clock(self) -> None:
        self.wall.off += timedelta(seconds=self.choose.choice([HOUR, -HOUR]))

    def faults(self) -> dict[str, Callable[[], None]]:
        return {
            "kill machine": self.kill,
            "kill service": self.kill_service,
            "kill gateway": self.kill_gateway,
            "freeze machine": self.freeze,
            "cut": self.cut,
            "slow boots": self.slow,
            "the cloud refuses, is sold out, loses its answer": self.sold_out,
            "full disk": self.full,
            "clock of the service jumps": self.clock,
        }


def simulated(_world: None, folder: Path, choose: random.Random, outcome: Outcome) -> None:
    outcome.engine = "none"
    log = logging.getLogger("farm")
    before = log.level
    log.setLevel(logging.CRITICAL)  # a disk that is full for a minute is told every second
    story = Story(folder, choose)
    farm = story.farm
    try:
        tasks = choose.randint(20, 40)
        _submit(farm, tasks)
        outcome.tasks = tasks + 8
        for name in choose.sample(sorted(story.faults()), choose.choice([2, 3, 4])):
            outcome.faults.append(f"{name} at {story_progress(story)}")
            story.faults()[name]()
            story.turn(choose.randint(1, 30))
        turns = 0
        while (farm.open_jobs() or farm.alive() or farm._orders()) and turns < TURNS:
            story.turn()
            turns += 1
        outcome.findings += _truth(story, outcome)
    finally:
        log.setLevel(before)
        farm.db.close()


def _submit(farm: SimulatedFarm, tasks: int) -> None:
    def array(name: str, last: int, **more: object) -> dict[str, object]:
        return {"name": name, "argv": ["x"], "array": {"first": 1, "last": last, "step": 1}, "retries": RETRIES, **more}

    farm.submit(array("many", tasks - 4))
    farm.submit(array("fails", 4) | {"argv": ["fails"]})
    farm.submit(array("fan", 7), {"name": "gather", "argv": ["x"], "after": ["fan"], "retries": RETRIES})


def story_progress(story: Story) -> int:
    return int(ask(story.database, "SELECT COUNT(*) AS n FROM task WHERE state = 'done'")[0]["n"])


def _truth(story: Story, outcome: Outcome) -> list[str]:
    farm, found = story.farm, []
    rows = done(story.database)
    if len(rows) != outcome.tasks:
        found.append(f"{len(rows)} tasks instead of {outcome.tasks}")
    for row in rows:
        name = f"{row['job']}.{row['number']}"
        if row["state"] != "done" or row["succeeded"] != 1:
            found.append(f"task {name} is {row['state']} with {row['succeeded']} accepted results: {row['message']}")
        elif story.store.put_bytes(f"{name}.{row['accepted']}".encode()) not in (row["outputs"] or ""):
            found.append(f"task {name} has {row['outputs']} instead of what attempt {row['accepted']} made")
    found += [f"left: machine {machine}" for machine in farm.machines()]
    found += [f"left: executor {executor}" for executor in farm.alive()]
    outcome.attempts = ask(story.database, "SELECT COUNT(*) AS n FROM attempt")[0]["n"]
    outcome.refused = ask(story.database, "SELECT COUNT(*) AS n FROM refused")[0]["n"]
    return found + [f"{one.rule}: {one.what}" for one in examine(story.database, story.store.has)]
