"""Farm's own policy in a replay: it is asked when the wheel of a farm would ask it, and learns as a farm learns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from farm.breaker import BREAKER, BREAKER_MAX
from farm.clock import from_micros, micros
from farm.simulate.backlog import Backlog, Entry
from farm.simulate.machine import Machine
from farm.simulate.pools import Offer
from farm.simulate.sight import Sight
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World
from schedules.arrivals import next_hour
from schedules.gaps import Gaps
from schedules.learning import PRIOR_S, Boots, Known, after, booted, expected
from schedules.model import NOTHING, Decision, Lane, Launch, Pool, Reserve, Retire, ScalingPolicy, Waiting
from schedules.ordering import due
from schedules.policy import default
from schedules.presets import Preset
from schedules.reserve import Allowed, allowed

GAP = SECOND // 5  # between two turns of the wheel
SOON = SECOND // 2  # the clock alone turns it no sooner
EVERY = 5 * SECOND  # and no later
MANY = 12
DAY = 86_400 * SECOND
MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class Farmer:
    """`lane` says in which lane a job waits."""

    preset: Preset
    offers: Mapping[str, Offer]
    lane: Callable[[Job], str]
    policy: ScalingPolicy = default
    owners: bool = False  # each source is an owner of its own: they share a lane
    reserve: Reserve = NOTHING
    lanes: dict[str, Lane] = field(init=False)
    backlog: Backlog = field(init=False)
    sight: Sight = field(init=False)
    _handed: dict[int, Entry] = field(default_factory=dict)
    _machines: dict[str, Machine] = field(default_factory=dict)
    _known: dict[str, Known] = field(default_factory=dict)
    _boots: dict[str, Boots] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _gaps: Gaps = field(default_factory=Gaps)
    _allowed: Allowed | None = None
    _stirred: bool = False
    _stirred_at: int = 0
    _turned: int = -GAP
    _look: int | None = None

    def __post_init__(self) -> None:
        self.lanes = {lane.name: lane for lane in self.preset.lanes}
        self.backlog = Backlog(lambda name: self.lanes[name].weight, self.owners)
        pools = {offer.name: self._pool(offer) for offer in self.offers.values()}
        self.sight = Sight(self.preset.lanes, self.backlog, pools)

    @property
    def name(self) -> str:
        return self.preset.name

    # ── what happens ──

    def come(self, job: Job, now: int) -> None:
        self._stirred = True
        if self.preset.ahead and not self.lanes[self.lane(job)].w_max:
            self._gaps.arrivals.saw(now, 1)
        lane, arrival = self.lanes[self.lane(job)], from_micros(job.arrival)
        predicted = timedelta(seconds=self.predict(job))
        when = due(arrival, predicted, lane)
        self.backlog.add(Entry(job, lane.name, Waiting(1, arrival, when, predicted, 1, str(job.number))), micros(when))

    def predict(self, job: Job) -> float:
        """Seconds: what its name took before."""
        known = self._known.get(job.name)
        return expected(known.log_mean, known.log_var) if known else PRIOR_S

    def waits(self) -> int:
        return len(self.backlog)

    def next(self) -> Job | None:
        most = self._allowed
        entry = self.backlog.take(most.lanes if most and not most.room(self.sight.at_work(most.lanes), 1) else ())
        if entry is None:
            return None
        self._handed[entry.job.number] = entry
        return entry.job

    def room(self, world: World) -> Machine | None:
        """The most recently busy one, as the dispatcher of a farm orders them."""
        if next(iter(world.open.values())).offer.slots == 1 and len(self.offers) == 1:
            return world.open[next(reversed(world.open))]
        return max(world.open.values(), key=lambda m: (bool(m.at), m.idle_since, m.id))

    def began(self, job: Job, machine: Machine, now: int) -> None:
        self._stirred = True
        self.sight.began(self._handed.pop(job.number), machine, now)

    def ended(self, job: Job, machine: Machine, now: int) -> None:
        self._stirred = True
        if not machine.gone:
            self._known[job.name] = after(self._known.get(job.name), job.duration / SECOND)
        self.sight.ended(job.number, machine)

    def up(self, machine: Machine, now: int) -> None:
        self._stirred = True
        pool = machine.offer.name
        self._boots[pool] = booted(self._boots.get(pool, Boots()), (now - machine.asked) / SECOND)
        self._failures[pool] = 0
        self.sight.machine(machine)
        self._revise(machine.offer)

    def down(self, machine: Machine, now: int) -> None:
        self._stirred = True
        del self._machines[machine.id]
        self.sight.machine(machine)

    # ── what it wants ──

    def wish(self, world: World) -> int | None:
        if self._stirred:
            self._stirred_at = world.now
            return self._turned + GAP
        if self.policy is not default:
            return self._by_the_clock(world.now)
        if self.preset.ahead:  # what is learned changes with the hour
            return min(self._look or next_hour(self._turned), next_hour(self._turned))
        return self._look

    def _by_the_clock(self, now: int) -> int | None:
        """Somebody's own policy need not say when it wants to look again: a farm asks it every few seconds. What it has
        left waiting for a day it leaves for ever."""
        idle = now - self._stirred_at
        if idle >= DAY:
            return None
        at = self._turned + (EVERY if idle < MANY * EVERY else MANY * EVERY)
        return at if self._look is None else min(at, max(self._look, now + SOON))

    def turn(self, world: World) -> None:
        self._turned, self._stirred = world.now, False
        seen = self._gaps.told(replace(self.sight.snapshot(from_micros(world.now)), reserve=self.reserve))
        self._allowed = allowed(seen)
        decision = self.policy(seen)
        look = decision.look_again
        self._look = max(world.now + SOON, micros(look)) if look else None
        self._act(world, decision)

    def _act(self, world: World, decision: Decision) -> None:
        for action in decision.actions:
            if isinstance(action, Launch):
                self._launch(world, self.offers[action.pool], action.count)
            elif isinstance(action, Retire):
                machine = self._machines.pop(action.executor)
                world.release(machine)
                self.sight.machine(machine)

    def _launch(self, world: World, offer: Offer, count: int) -> None:
        made = world.launch(offer, count)
        for machine in made:
            self._machines[machine.id] = machine
            self.sight.machine(machine)
        if len(made) < count:
            self._break(world, offer)

    def _break(self, world: World, offer: Offer) -> None:
        """The pool had no machines: it is left alone for a while, and another is asked at once."""
        failures = self._failures.get(offer.name, 0)
        self._failures[offer.name] = failures + 1
        until = from_micros(world.now) + min(BREAKER * 2**failures, BREAKER_MAX)
        self.sight.pools[offer.name] = replace(self.sight.pools[offer.name], breaker_open_until=until)
        self._stirred = True

    def _revise(self, offer: Offer) -> None:
        """What was learned of its boots."""
        now = self._pool(offer)
        if now != self.sight.pools[offer.name]:
            self.sight.pools[offer.name] = now

    def _pool(self, offer: Offer) -> Pool:
        said, known = offer.boot * MICROSECOND, self._boots.get(offer.name, Boots())
        boot = timedelta(seconds=known.mean) if known.seen else said
        pool = Pool(
            name=offer.name,
            price_per_hour=Decimal(str(offer.price)),
            slots=offer.slots,
            ceiling=offer.ceiling,
            max_slots=offer.slots,
            boot=boot,
            boot_p95=max(boot, timedelta(seconds=known.high), said),
            min_bill=offer.min_bill * MICROSECOND,
        )
        return self.preset.holds(pool)
