"""The event loop of a replay: jobs come, machines boot, run them and are let go; whoever decides is asked in between.

Time jumps from event to event; nothing happens in between. All times in µs.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from farm.simulate.course import Course
from farm.simulate.machine import Machine
from farm.simulate.pools import Chance, Offer
from farm.simulate.trace import Job


class Decides(Protocol):
    """A policy with its queue: Farm's own, or a peer's."""

    @property
    def name(self) -> str: ...

    def come(self, job: Job, now: int) -> None:
        """It waits from now on; also one whose machine was taken away."""

    def next(self) -> Job | None:
        """The job that gets the next slot, out of the queue."""

    def room(self, world: "World") -> Machine | None:
        """Where it goes, of the machines with a free slot."""

    def waits(self) -> int:
        """How many jobs wait."""

    def began(self, job: Job, machine: Machine, now: int) -> None:
        """It runs."""

    def ended(self, job: Job, machine: Machine, now: int) -> None:
        """It is done, or (`gone` machine) was cut off."""

    def up(self, machine: Machine, now: int) -> None:
        """A machine is ready."""

    def down(self, machine: Machine, now: int) -> None:
        """A machine was taken away; what ran on it has ended and comes again."""

    def wish(self, world: "World") -> int | None:
        """After events: when it wants to decide next; None: not before something else happens."""

    def turn(self, world: "World") -> None:
        """Decide: launch and release."""


@dataclass(slots=True)
class World:
    """What there is now, and what was paid."""

    jobs: Sequence[Job]
    offers: Sequence[Offer]
    mind: Decides
    chance: Chance = field(default_factory=Chance)
    course: Course | None = None  # keeps what happens, for a plot
    now: int = 0
    booting: dict[str, Machine] = field(default_factory=dict)
    open: dict[str, Machine] = field(default_factory=dict)  # ready, with a free slot
    full: dict[str, Machine] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)  # job → when it began first
    done: dict[int, int] = field(default_factory=dict)  # job → when it ended
    paid: int = 0
    cost: float = 0.0
    launches: int = 0
    peak: int = 0
    last_end: int = 0  # of a job
    empty_at: int | None = None  # when the last machine went after that
    running: int = 0  # jobs
    _events: list[tuple[int, int, str, Machine, Job | None]] = field(default_factory=list)
    _number: int = 0
    _come: int = 0  # jobs that have come

    def run(self, decide: Callable[["World"], None]) -> None:
        """To the last job's end, and on until nothing more happens by itself. `decide` is the mind's `turn`."""
        turn: int | None = None
        while (at := self._soonest(turn)) is not None:
            self.now = at
            self._happen()
            self._hand_out()
            if turn is not None and turn <= at:
                decide(self)
                self._hand_out()
            self._note()
            turn = self._wish()
        self._close()

    def _wish(self) -> int | None:
        wish = self.mind.wish(self)
        return wish if wish is None else max(wish, self.now)

    def _soonest(self, turn: int | None) -> int | None:
        """When something happens next; None when all is done and nobody changes anything any more."""
        found = [turn] if turn is not None else []
        if self._come < len(self.jobs):
            found.append(self.jobs[self._come].arrival)
        if self._events:
            found.append(self._events[0][0])
        if len(self.done) == len(self.jobs) and not self.alive():
            return None
        return min(found, default=None)

    def alive(self) -> int:
        return len(self.booting) + len(self.open) + len(self.full)

    def machines(self) -> Iterable[Machine]:
        for group in (self.booting, self.open, self.full):
            yield from group.values()

    # ── what whoever decides may do ──

    def launch(self, offer: Offer, count: int) -> list[Machine]:
        """As many as its ceiling allows; none when it is sold out."""
        used = sum(m.offer.slots for m in self.machines() if m.offer.name == offer.name) if count > 0 else 0
        count = min(count, (offer.ceiling - used) // offer.slots)
        if count <= 0 or not offer.sells(self.now - self.jobs[0].arrival):
            return []
        made = [self._launch(offer) for _ in range(count)]
        self.peak = max(self.peak, self.alive())
        return made

    def _launch(self, offer: Offer) -> Machine:
        self.launches += 1
        made = Machine(f"m{self.launches}", offer, self.now, self.now + self.chance.boot(offer))
        self.booting[made.id] = made
        self._push(made.ready_at, "ready", made)
        if (life := self.chance.life(offer)) is not None:
            self._push(made.ready_at + life, "lost", made)
        return made

    def release(self, machine: Machine) -> None:
        """It is empty or boots still, and goes."""
        if machine.at or machine.gone:
            raise RuntimeError(f"{machine.id} is at work")  # invariant 3
        self._end(machine)

    # ── what happens by itself ──

    def _push(self, at: int, what: str, machine: Machine, job: Job | None = None) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, what, machine, job))

    def _happen(self) -> None:
        """All events of this instant: ends first, then boots, then arrivals."""
        while self._events and self._events[0][0] <= self.now:
            _, _, what, machine, job = heapq.heappop(self._events)
            if machine.gone:
                continue
            if what == "ready":
                self._ready(machine)
            elif what == "lost":
                self._lost(machine)
            elif job is not None:
                self._ended(machine, job)
        while self._come < len(self.jobs) and self.jobs[self._come].arrival <= self.now:
            self.mind.come(self.jobs[self._come], self.now)
            self._come += 1

    def _ready(self, machine: Machine) -> None:
        del self.booting[machine.id]
        machine.ready, machine.idle_since = True, self.now
        self.open[machine.id] = machine
        self.mind.up(machine, self.now)

    def _ended(self, machine: Machine, job: Job) -> None:
        del machine.at[job]
        if not machine.at:
            machine.idle_since = self.now
        self.open[machine.id] = machine
        self.full.pop(machine.id, None)
        self.running -= 1
        self.done[job.number] = self.last_end = self.now
        self.mind.ended(job, machine, self.now)

    def _lost(self, machine: Machine) -> None:
        cut_off = [*machine.at]
        machine.gone = True
        self.running -= len(cut_off)
        for job in cut_off:
            self.mind.ended(job, machine, self.now)
            self.mind.come(job, self.now)
        machine.at.clear()
        self._end(machine)
        self.mind.down(machine, self.now)

    def _end(self, machine: Machine) -> None:
        machine.gone = True
        for group in (self.booting, self.open, self.full):
            group.pop(machine.id, None)
        paid = machine.paid(self.now)
        self.paid += paid
        self.cost += paid * machine.offer.price / 3_600e6
        self.empty_at = self.now

    def _hand_out(self) -> None:
        while self.open and self.mind.waits() and (machine := self.mind.room(self)) is not None:
            job = self.mind.next()
            if job is None:
                return
            machine.at[job] = self.now
            if not machine.free:
                self.full[machine.id] = self.open.pop(machine.id)
            self.running += 1
            self.begun.setdefault(job.number, self.now)
            self._push(self.now + job.duration, "end", machine, job)
            self.mind.began(job, machine, self.now)

    def _note(self) -> None:
        if self.course is not None:
            self.course.note(self.now, self._slots(), self.running, self.mind.waits())

    def _slots(self) -> int:
        if len(self.offers) == 1:
            return self.alive() * self.offers[0].slots
        return sum(m.offer.slots for m in self.machines())

    def _close(self) -> None:
        """What is still there when nothing happens any more (a peer's standing machines) is billed to the last end."""
        left = [*self.machines()]
        self.now = max(self.last_end, self.now) if not left else self.last_end
        for machine in left:
            self._end(machine)
        if left:
            self.empty_at = None
