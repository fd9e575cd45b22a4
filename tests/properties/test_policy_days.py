"""A farm turned second by second in memory: what the policy does over time, to waits, to the way back to zero, to a
pool without machines. Work is dispatched earliest due first, to the most recently busy executor."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.idle import patience
from schedules.model import Busy, Demand, Drain, Executor, Lane, Launch, Pool, Retire, Snapshot, Waiting
from schedules.ordering import due, wait_target
from schedules.policy import default
from schedules.windows import hours

START = datetime(2026, 3, 2, tzinfo=UTC)
S = timedelta(seconds=1)
quick = settings(max_examples=12, deadline=None)

INTERACTIVE = Lane("interactive", 4)
DEFAULT = Lane("default", 2, 0.5, 20 * S, 90 * S)
BULK = Lane("bulk", 1, 1.0, 60 * S, 300 * S)
LANES = {lane.name: lane for lane in (INTERACTIVE, DEFAULT, BULK)}


@dataclass
class Task:
    arrival: datetime
    lane: str
    seconds: int
    factor: float = 1.0  # predicted / real
    started: datetime | None = None
    on: str = ""

    @property
    def predicted(self):
        return self.seconds * self.factor * S

    @property
    def due(self):
        return due(self.arrival, self.predicted, LANES[self.lane])

    def remaining(self, now):
        """As the farm tells it: an attempt longer than predicted gets as long again, at least 15 s."""
        run = now - self.started
        return self.predicted - run if run < self.predicted else max(15 * S, run / 2)


@dataclass
class Farm:
    pool: Pool
    tasks: list[Task]
    boots: object  # seconds of the n-th boot
    now: datetime = START
    executors: dict[str, Executor] = field(default_factory=dict)
    ready_at: dict[str, datetime] = field(default_factory=dict)
    launched: int = 0
    paid: timedelta = timedelta()
    number: count = field(default_factory=count)

    def seen(self):
        waiting = [t for t in self.tasks if t.arrival <= self.now and not t.started]
        running = [t for t in self.tasks if t.on]
        demand = [
            Demand(
                lane,
                tuple(Waiting(1, t.arrival, t.due, t.predicted) for t in waiting if t.lane == lane),
                tuple(Busy(self.now + t.remaining(self.now)) for t in running if t.lane == lane),
            )
            for lane in LANES
        ]
        there = tuple(self.executors.values())
        return Snapshot(self.now, tuple(LANES.values()), (self.pool,), there, tuple(demand))

    def turn(self):
        """One second: finishes, boots, dispatch, decision."""
        self.finish()
        self.boot()
        self.dispatch()
        for act in default(self.seen()).actions:
            self.act(act)
        self.dispatch()
        self.paid += sum((S for _ in self.executors), timedelta())
        self.now += S

    def finish(self):
        for task in self.tasks:
            if task.on and task.started + task.seconds * S <= self.now:
                e = self.executors[task.on]
                left = e.busy_slots - 1
                self.executors[e.id] = replace(e, busy_slots=left, idle_since=None if left else self.now)
                task.on = ""

    def boot(self):
        for e in list(self.executors.values()):
            if e.state == "ordered" and self.ready_at[e.id] <= self.now:
                self.executors[e.id] = replace(e, state="ready", idle_since=self.now)

    def dispatch(self):
        queue = [t for t in self.tasks if t.arrival <= self.now and not t.started]
        for task in sorted(queue, key=lambda t: t.due):
            free = [e for e in self.executors.values() if e.state == "ready" and e.busy_slots < e.slots]
            if not free:
                return
            e = max(free, key=lambda e: (e.busy_slots, e.idle_since or START))
            self.executors[e.id] = replace(e, busy_slots=e.busy_slots + 1, idle_since=None)
            task.started, task.on = self.now, e.id

    def act(self, act):
        if isinstance(act, Launch):
            for _ in range(act.count):
                id = f"e{next(self.number)}"
                self.executors[id] = Executor(id, act.pool, "ordered", act.slots, 0, self.now)
                self.ready_at[id] = self.now + self.boots(self.launched) * S
                self.launched += 1
        else:
            assert isinstance(act, Retire | Drain)
            e = self.executors.pop(act.executor)
            assert not e.busy_slots

    def run(self):
        """Until every task has ended and every executor is gone; when the last task ended."""
        ended = START
        while any(not t.started or t.on for t in self.tasks) or self.executors:
            self.turn()
            ended = self.now if any(t.on for t in self.tasks) else ended
            assert self.now < START + timedelta(days=2)
        return ended


boots = st.sampled_from([1, 3, 10, 60])


@st.composite
def workloads(draw, factors=st.just(1.0)):
    bursts = draw(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 12)), min_size=1, max_size=5))
    lengths = st.sampled_from([1, 2, 5, 30, 200])
    return [
        Task(START + at * S, draw(st.sampled_from(sorted(LANES))), draw(lengths), draw(factors))
        for at, number in bursts
        for _ in range(number)
    ]


def farm(tasks, boot, slots=1, boots=None, **more):
    pool = Pool("pool", Decimal("0.5"), slots, 10_000, slots, boot * S, boot * 1.5 * S, **more)
    return Farm(pool, tasks, boots or (lambda _: boot))


@given(workloads(), boots, st.integers(1, 3))
@quick
def test_without_a_ceiling_nobody_waits_longer_than_the_lane_says_and_a_boot(tasks, boot, slots):
    day = farm(tasks, boot, slots)
    day.run()
    slack = 2 * min(boot * S / 10, 5 * S)
    for task in tasks:
        target = wait_target(LANES[task.lane], task.predicted)
        assert task.started - task.arrival <= target + boot * S + slack + 2 * S


@given(workloads(st.sampled_from([0.001, 0.3, 1.0, 3.0])), boots)
@quick
def test_wrong_predictions_cost_a_wait_that_is_bounded(tasks, boot):
    """A task predicted a thousand times too short delays others by no more than its overrun's first renewals."""
    day = farm(tasks, boot)
    day.run()
    for task in tasks:
        target = wait_target(LANES[task.lane], task.predicted)
        assert task.started - task.arrival <= max(target, 0 * S) + 4 * boot * S + 60 * S


@given(workloads(), boots, st.sampled_from([0, 60]))
@quick
def test_it_returns_to_zero_within_the_idle_time(tasks, boot, least):
    day = farm(tasks, boot, min_bill=least * S)
    ended = day.run()
    kept = patience(day.pool, hours(day.pool, (), START))
    assert day.now - ended <= max(kept, least * S) + 3 * S


@given(workloads(), boots)
@quick
def test_no_more_boots_than_tasks_and_no_less_paid_than_worked(tasks, boot):
    day = farm(tasks, boot)
    day.run()
    assert day.launched <= len(tasks)
    assert day.paid >= sum((t.seconds * S for t in tasks), timedelta())


@given(workloads(), st.lists(st.integers(1, 40), min_size=1, max_size=20))
@quick
def test_boots_of_any_length_neither_hang_nor_flap(tasks, lengths):
    day = farm(tasks, 10, boots=lambda n: lengths[n % len(lengths)])
    day.run()
    assert day.launched <= 4 * len(tasks)


def test_a_mass_of_short_tasks_shares_few_machines():
    tasks = [Task(START, "interactive", 1) for _ in range(60)]
    day = farm(tasks, 60)
    day.run()
    assert day.launched == 10  # six tasks of 1 s on each: the first at once, the others within the 5 s of slack


def test_a_steady_stream_with_room_to_wait_keeps_one_machine():
    tasks = [Task(START + 30 * n * S, "default", 25) for n in range(40)]
    day = farm(tasks, 10)
    day.run()
    assert day.launched == 1
