"""What can happen to a farm, chosen by a seed."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from executors.site.process import Process
from tests.chaos.base import Base
from tests.chaos.ground import Ground, Stuck, below, until
from tests.chaos.terrain import Act, Terrain

COMMON = ("service", "gateway", "executor", "agent", "keeper", "task")
ROLES = {"plain": COMMON, "ray": (*COMMON, "gcs", "head-raylet", "raylet")}


@dataclass(frozen=True)
class Fault:
    """Comes when the tasks have written `after` lines."""

    after: int
    name: str
    act: Callable[[Ground], None]

    def __str__(self) -> str:
        return f"{self.name} at {self.after}"


def plan(choose: random.Random, engine: str, terrain: Terrain, base: Base, lines: int) -> list[Fault]:
    """Two roles are hit, twice each; something bigger comes once; what the terrain has, twice; and what happens to the
    database, twice."""
    roles = choose.sample(ROLES[engine], 2)
    acts = [_hit(choose, role) for role in roles for _ in range(2)]
    acts.append(choose.choice(BIG)(choose))
    if terrain.faults:
        acts += [terrain.fault(choose) for _ in range(terrain.faults)]
    acts += base.faults(choose)
    choose.shuffle(acts)
    moments = sorted(choose.sample(range(4, lines - 40), len(acts)))
    return [Fault(moment, *act) for moment, act in zip(moments, acts, strict=True)]


def _wait(seconds: float) -> None:
    Event().wait(seconds)


def _hit(choose: random.Random, role: str) -> Act:
    """SIGKILL, or SIGSTOP for a while, for one process of this role, a moment later."""
    delay, which, frozen = choose.uniform(0, 0.3), choose.random(), choose.uniform(0.1, 4)
    if choose.random() < 0.6:
        return f"kill {role}", lambda ground: _kill(ground, role, delay, which)
    return f"freeze {role} {frozen:.1f} s", lambda ground: _freeze(ground, role, delay, which, frozen)


def _one(ground: Ground, role: str, delay: float, which: float) -> Process | None:
    """There may be none any more: the work may be done."""
    try:
        found = until(lambda: ground.of(role), 10, f"there is a {role}", 0.05)
    except Stuck:
        return None
    _wait(delay)
    return found[int(which * len(found))]


def _kill(ground: Ground, role: str, delay: float, which: float) -> None:
    process = _one(ground, role, delay, which)
    if process is None:
        return
    process.signal(signal.SIGKILL)
    process.wait(10)
    if role == "service":
        _wait(delay)
        ground.up()


def _freeze(ground: Ground, role: str, delay: float, which: float, seconds: float) -> None:
    process = _one(ground, role, delay, which)
    if process is None:
        return
    process.signal(signal.SIGSTOP)
    _wait(seconds)
    process.signal(signal.SIGCONT)


def _restart(choose: random.Random) -> Act:
    def act(ground: Ground) -> None:
        ground.down()
        ground.up()

    return "down and up", act


def _power(choose: random.Random) -> Act:
    def act(ground: Ground) -> None:
        ground.kill_all()
        ground.up()

    return "kill everything, and up", act


def _two(choose: random.Random) -> Act:
    """Two `farm up` at once after the service was killed; one starts it, both are fine."""

    def act(ground: Ground) -> None:
        for service in ground.of("service"):
            service.signal(signal.SIGKILL)
            service.wait(10)
        ground.up_twice()

    return "two farm up at once", act


def _ice(choose: random.Random) -> Act:
    """A whole executor stops, for longer than anybody waits for it, and comes back when it is forgotten."""
    seconds = choose.uniform(6, 14)

    def act(ground: Ground) -> None:
        executor = _one(ground, "executor", 0, 0)
        tree = [executor, *below(executor)] if executor else []
        for process in tree:
            process.signal(signal.SIGSTOP)
        _wait(seconds)
        for process in tree:
            process.signal(signal.SIGCONT)

    return f"freeze a whole executor {seconds:.1f} s", act


BIG = (_restart, _power, _two, _ice)
