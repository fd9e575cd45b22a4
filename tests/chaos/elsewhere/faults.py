"""What can happen to a farm whose executors are elsewhere, chosen by a seed."""

import contextlib
import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from tests.chaos.elsewhere.scene import Scene, words
from tests.chaos.ground import Stuck, until
from tests.machines.desks.desk import Cuts, Freezes, Running, Slows

HOUR = 3600
Act = tuple[str, Callable[[Scene], None]]
Maker = Callable[[random.Random], Act]


@dataclass(frozen=True)
class Fault:
    """Comes `delay` seconds after so many tasks are done."""

    after: int
    delay: float
    name: str
    act: Callable[[Scene], None]

    def __str__(self) -> str:
        return f"{self.name} at {self.after}"


def plan(choose: random.Random, makers: Sequence[Maker], tasks: int) -> list[Fault]:
    """One to three, of as many families; one in three comes while the first executors boot."""
    chosen = choose.sample(makers, choose.choice([1, 2, 2, 3]))
    acts = [maker(choose) for maker in chosen]
    moments = sorted(choose.choice([0, choose.randint(1, tasks // 2), choose.randint(1, tasks - 3)]) for _ in acts)
    return [Fault(m, choose.uniform(0, 1 if m else 4), *act) for m, act in zip(moments, acts, strict=True)]


def wait(seconds: float) -> None:
    Event().wait(seconds)


@dataclass(frozen=True)
class Span:
    """A time that is shorter than the farm's lease, or longer by a little."""

    seconds: float
    beyond: bool

    def wait(self, scene: Scene) -> None:
        wait(self.seconds + self.beyond * scene.lease_s)

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s beyond a lease" if self.beyond else f"{self.seconds:.1f} s"


def span(choose: random.Random) -> Span:
    beyond = choose.random() < 0.4
    return Span(choose.uniform(1.5, 5) if beyond else choose.uniform(0.5, 5), beyond)


# ── the service, the same for all ──


def kill_service(choose: random.Random) -> Act:
    away = choose.choice([Span(0, False), span(choose)])

    def act(scene: Scene) -> None:
        for service in scene.ground.of("service"):
            service.signal(signal.SIGKILL)
            service.wait(10)
        away.wait(scene)
        scene.ground.up()

    return f"kill service, up {away} later", act


def restart_service(choose: random.Random) -> Act:
    def act(scene: Scene) -> None:
        scene.desk("down", "--keep")
        scene.ground.up()

    return "down and up", act


def freeze_service(choose: random.Random) -> Act:
    seconds = choose.uniform(0.5, 6)

    def act(scene: Scene) -> None:
        frozen = scene.ground.of("service")
        for service in frozen:
            service.signal(signal.SIGSTOP)
        wait(seconds)
        for service in frozen:
            service.signal(signal.SIGCONT)

    return f"freeze service {seconds:.1f} s", act


def clock_of_service(choose: random.Random) -> Act:
    jump = choose.choice([HOUR, -HOUR])
    return f"clock of the service jumps {jump:+} s", lambda scene: scene.set_clock(jump)


# ── machines ──


def kill_machine(choose: random.Random) -> Act:
    which = choose.random()

    def act(scene: Scene) -> None:
        if machine := scene.one(which):
            machine.kill()

    return "kill machine", act


def freeze_machine(choose: random.Random) -> Act:
    which, time = choose.random(), span(choose)

    def act(scene: Scene) -> None:
        machine = scene.one(which)
        if isinstance(machine, Freezes):
            machine.freeze()
            scene.hurt.append(lambda: machine.freeze(False))
            time.wait(scene)
            scene.heal()

    return f"freeze machine {time}", act


def cut(choose: random.Random) -> Act:
    which, time = choose.random(), span(choose)

    def act(scene: Scene) -> None:
        machine = scene.one(which)
        if isinstance(machine, Cuts):
            machine.cut()
            scene.hurt.append(machine.restore)
            time.wait(scene)
            scene.heal()

    return f"cut {time}", act


def slow(choose: random.Random) -> Act:
    which, seconds = choose.random(), choose.uniform(3, 8)
    kinds = {"kbit": choose.randint(100, 800), "loss": choose.uniform(0.02, 0.2), "delay_ms": choose.uniform(50, 400)}
    name = choose.choice(sorted(kinds))
    how: dict[str, Any] = {name: kinds[name]}

    def act(scene: Scene) -> None:
        machine = scene.one(which)
        if isinstance(machine, Slows):
            machine.slow(**how)
            scene.hurt.append(machine.slow)
            wait(seconds)
            scene.heal()

    return f"slow by {name} ({how[name]:.3g}) {seconds:.1f} s", act


def pulses(choose: random.Random) -> Act:
    """Slow, where there is no line that could be: it stops and goes."""
    which, number = choose.random(), choose.randint(5, 12)

    def act(scene: Scene) -> None:
        machine = scene.one(which)
        if isinstance(machine, Freezes):
            for _ in range(number):
                machine.freeze()
                wait(0.4)
                machine.freeze(False)
                wait(0.15)

    return f"slow by stopping {number} times", act


def kill_process(*signs: str) -> Maker:
    """Of those of the machine that `Hosts.pids` tells: one whose command line has one of the signs; "" is any."""

    def make(choose: random.Random) -> Act:
        which, who, sign = choose.random(), choose.random(), choose.choice(signs)

        def act(scene: Scene) -> None:
            machine = scene.one(which)
            found = [pid for pid in pids(machine) if sign in words(pid)]
            if found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found[int(who * len(found))], signal.SIGKILL)

        return f"kill {sign.rpartition('.')[2] or 'any process'} on a machine", act

    return make


def pids(machine: Running | None) -> list[int]:
    """Of what the farm has brought there, as this machine counts."""
    try:
        all_of_them: list[int] = sorted(machine.pids()) if machine else []  # type: ignore[attr-defined]
    except OSError:
        return []
    return [pid for pid in all_of_them if words(pid) and not any(spared in words(pid) for spared in SPARED)]


SPARED = ("machine/init", "user-data", "--join", "/pause")


def role(verb: str, *roles: str) -> Maker:
    """SIGKILL or SIGSTOP for a process that `farm status --json` names."""

    def make(choose: random.Random) -> Act:
        name, which, time = choose.choice(roles), choose.random(), span(choose)

        def act(scene: Scene) -> None:
            try:
                found = until(lambda: scene.ground.of(name), 5, f"there is a {name}")
            except Stuck:
                return
            process = found[int(which * len(found))]
            process.signal(signal.SIGKILL if verb == "kill" else signal.SIGSTOP)
            if verb != "kill":
                time.wait(scene)
                process.signal(signal.SIGCONT)

        return (f"kill {name}" if verb == "kill" else f"{verb} {name} {time}"), act

    return make


def full(ballasts: Callable[[Scene], Mapping[str, Path]], most: int, longest_s: float = 5) -> Maker:
    """Somebody fills the small disk of an executor, and goes again."""

    def make(choose: random.Random) -> Act:
        which, seconds = choose.random(), choose.uniform(0.5, longest_s)

        def act(scene: Scene) -> None:
            found = sorted(ballasts(scene).items())
            if found:
                scene.no_room = True
                _fill(found[int(which * len(found))][1], most, seconds)

        return f"full disk {seconds:.1f} s", act

    return make


def _fill(ballast: Path, most: int, seconds: float) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for _ in range(most >> 16):
            file.write(bytes(1 << 16))
    wait(seconds)
    with contextlib.suppress(OSError):
        ballast.unlink()


SERVICE: tuple[Maker, ...] = (kill_service, restart_service, freeze_service, clock_of_service)
