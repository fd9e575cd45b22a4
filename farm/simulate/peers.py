"""How other schedulers add and remove machines: their published rules, each with its defaults.

They get the best that their rules allow: jobs in the order of arrival, onto the machine that is there for longest (so
that others fall idle), no machine at work is ever ended, and what they know is never out of date.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from farm.simulate.machine import Machine
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND


@dataclass(slots=True)
class Peer:
    """Looks every `tick`; ends what was idle for `idle` while nothing waits."""

    title: ClassVar[str] = ""
    tick: ClassVar[int] = 5 * SECOND
    idle: ClassVar[int] = 5 * MINUTE
    queue: deque[Job] = field(default_factory=deque)
    came: bool = False  # since the last turn

    @property
    def name(self) -> str:
        return self.title

    def come(self, job: Job, now: int) -> None:
        self.queue.append(job)
        self.came = True

    def next(self) -> Job | None:
        return self.queue.popleft()

    def room(self, world: World) -> Machine | None:
        return min(world.open.values(), key=lambda m: m.asked)

    def waits(self) -> int:
        return len(self.queue)

    def began(self, job: Job, machine: Machine, now: int) -> None:
        """Nothing is learned from it."""

    def ended(self, job: Job, machine: Machine, now: int) -> None:
        """Nothing is learned from it."""

    def up(self, machine: Machine, now: int) -> None:
        """Nothing is learned from it."""

    def down(self, machine: Machine, now: int) -> None:
        """Nothing is learned from it."""

    def wish(self, world: World) -> int | None:
        """At its next look, if there is anything to see then."""
        if self.queue:
            return self._look(world, world.now + 1)
        first = min((m.idle_since for m in world.open.values() if not m.at), default=None)
        return None if first is None else self._look(world, max(first + self.idle, world.now + 1))

    def _look(self, world: World, at: int) -> int:
        """The first look not before then."""
        start = world.jobs[0].arrival
        return start + -(-(at - start) // self.tick) * self.tick

    def turn(self, world: World) -> None:
        self.came = False
        self.grow(world, _lack(world, len(self.queue)))
        if not self.queue:
            _shrink(world, self.idle)

    def grow(self, world: World, lack: int) -> None:
        """`lack`: machines that the waiting jobs would fill beside those that are free or boot."""
        world.launch(world.offers[0], lack)


def _lack(world: World, jobs: int) -> int:
    free = sum(m.free for m in world.open.values()) + sum(m.offer.slots for m in world.booting.values())
    return -((free - jobs) // world.offers[0].slots)


def _shrink(world: World, idle: int, keep: int = 0) -> None:
    """End those idle for so long, longest first, while more than `keep` are idle."""
    empty = sorted((m for m in world.open.values() if not m.at), key=lambda m: m.idle_since)
    for machine in empty[: max(0, len(empty) - keep)]:
        if world.now - machine.idle_since >= idle:
            world.release(machine)


@dataclass(slots=True)
class Ray(Peer):
    """Autoscaler v2 (2.60): every 5 s at most 10 starts in flight, and as many as run; idle for 5 minutes."""

    title: ClassVar[str] = "ray"
    at_once: ClassVar[int] = 10
    answered: ClassVar[int] = 10 * SECOND  # a start is in flight until the cloud has answered

    def grow(self, world: World, lack: int) -> None:
        running = len(world.open) + len(world.full)
        in_flight = sum(world.now - m.asked < self.answered for m in world.booting.values())
        world.launch(world.offers[0], min(lack, self.at_once - in_flight, max(1, running)))


@dataclass(slots=True)
class Keda(Peer):
    """ScaledObject and HPA: 0 → 1 by a poll of 30 s; a sync of 15 s that doubles or adds 4; 5 minutes of the highest
    demand before it shrinks, and 5 more of silence before 0."""

    title: ClassVar[str] = "keda"
    tick: ClassVar[int] = 15 * SECOND
    poll: ClassVar[int] = 30 * SECOND
    stable: ClassVar[int] = 5 * MINUTE
    wanted: deque[tuple[int, int]] = field(default_factory=deque)
    active: int = 0  # when anything waited or ran last

    def wish(self, world: World) -> int | None:
        return self._look(world, world.now + 1) if self.queue or world.alive() else None

    def turn(self, world: World) -> None:
        slots, now = world.offers[0].slots, world.now
        busy = sum(len(m.at) for m in world.machines())
        want, there = -(-(len(self.queue) + busy) // slots), world.alive()
        self.active = now if want else self.active
        if not there:
            if want and (now - world.jobs[0].arrival) % self.poll == 0:
                world.launch(world.offers[0], 1)
            return
        self.wanted.append((now, want))
        while self.wanted[0][0] < now - self.stable:
            self.wanted.popleft()
        if want > there:
            world.launch(world.offers[0], min(want, max(2 * there, there + 4)) - there)
        else:
            silent = not want and now - self.active >= self.idle
            self._less(world, there - (0 if silent else max(1, *(w for _, w in self.wanted), 1)))

    def _less(self, world: World, count: int) -> None:
        empty = [m for m in world.open.values() if not m.at]
        for machine in empty[: max(0, count)]:
            world.release(machine)


@dataclass(slots=True)
class Eager(Peer):
    """A machine for each waiting job, ordered `batch` after it came."""

    batch: ClassVar[int] = 0

    def wish(self, world: World) -> int | None:
        usual = Peer.wish(self, world)
        if not self.came:
            return usual
        at = max(world.now, self.queue[-1].arrival + self.batch) if self.queue else world.now
        return at if usual is None else min(at, usual)


@dataclass(slots=True)
class Karpenter(Eager):
    """Pods are gathered for 1 s; a node that is empty goes when the disruption loop (10 s) sees it."""

    title: ClassVar[str] = "karpenter"
    tick: ClassVar[int] = 10 * SECOND
    idle: ClassVar[int] = 0
    batch: ClassVar[int] = SECOND


@dataclass(slots=True)
class ParallelCluster(Eager):
    """Slurm with dynamic nodes: one for each job, idle for 10 minutes."""

    title: ClassVar[str] = "parallelcluster"
    idle: ClassVar[int] = 10 * MINUTE


@dataclass(slots=True)
class HyperQueue(Eager):
    """Automatic allocation with a backlog of 1: never more than one allocation waits; idle for 5 minutes."""

    title: ClassVar[str] = "hyperqueue"
    backlog: ClassVar[int] = 1

    def grow(self, world: World, lack: int) -> None:
        world.launch(world.offers[0], min(lack, self.backlog - len(world.booting)))


@dataclass(slots=True)
class GitLab(Eager):
    """Runner's instance executor: 5 machines idle beside the busy ones, working days 8 to 18; 20 minutes idle."""

    title: ClassVar[str] = "gitlab"
    idle: ClassVar[int] = 20 * MINUTE
    spare: ClassVar[int] = 5
    hours: ClassVar[tuple[int, int]] = (8, 18)  # UTC

    def wish(self, world: World) -> int | None:
        usual = Eager.wish(self, world)
        if len(world.done) == len(world.jobs):
            return usual
        edge = (world.now // HOUR + 1) * HOUR
        return edge if usual is None else min(edge, usual)

    def turn(self, world: World) -> None:
        self.came = False
        keep = self._keep(world.now)
        world.launch(world.offers[0], _lack(world, len(self.queue) + keep * world.offers[0].slots))
        if not self.queue:
            _shrink(world, self.idle, max(0, keep - len(world.booting)))

    def _keep(self, now: int) -> int:
        weekday, hour = (now // DAY + 3) % 7, now // HOUR % 24
        return self.spare if weekday < 5 and self.hours[0] <= hour < self.hours[1] else 0


@dataclass(slots=True)
class Static(Peer):
    """So many machines from the first job to the last."""

    title: ClassVar[str] = "static"
    machines: int = 1

    def wish(self, world: World) -> int | None:
        return None if world.launches else world.now

    def turn(self, world: World) -> None:
        world.launch(world.offers[0], self.machines)


PEERS: Mapping[str, type[Peer]] = {
    peer.title: peer for peer in (Ray, Keda, Karpenter, GitLab, ParallelCluster, HyperQueue, Static)
}
