"""What holds of every replay, whatever comes, whatever machines there are and whatever happens to them."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from farm.simulate.farmer import Farmer
from farm.simulate.machine import Machine
from farm.simulate.pools import Chance, Offer
from farm.simulate.score import play
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World
from schedules.model import Reserve
from schedules.presets import PRESETS

TICK = 2 * SECOND
CLASSES = st.sampled_from(["interactive", "default", "bulk", "bulk"])
ARRIVALS = st.one_of(st.just(0), st.integers(0, 4000))
LENGTHS = st.sampled_from([1, 20, 20, 90, 600, 2500])
COMES = st.lists(st.tuples(ARRIVALS, LENGTHS, st.sampled_from("abc"), CLASSES), min_size=1, max_size=30)
OFFERS = st.builds(
    lambda boot, least, ceiling, slots, spread, loss, out: Offer(
        "pool",
        boot * SECOND,
        least * SECOND,
        ceiling * slots,
        slots,
        spread=spread,
        loss=loss,
        sold_out=((0, out * SECOND),) if out else (),
    ),
    st.sampled_from([1, 9, 60, 240]),
    st.sampled_from([0, 60, 600]),
    st.sampled_from([2, 5, 100]),
    st.sampled_from([1, 1, 4]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.0, 0.0, 0.5]),
    st.sampled_from([0, 0, 500]),
)


@dataclass(slots=True)
class Watched(World):
    """Keeps all machines, and how much of bulk ran at most."""

    sold: list[Machine] = field(default_factory=list)
    most_bulk: int = 0

    def launch(self, offer: Offer, count: int) -> list[Machine]:
        made = World.launch(self, offer, count)
        self.sold += made
        used = sum(machine.offer.slots for machine in self.machines())
        assert used <= offer.ceiling
        return made

    def look(self) -> None:
        running = [job for machine in self.machines() for job in machine.at]
        assert all(len(machine.at) <= machine.offer.slots for machine in self.machines())
        self.most_bulk = max(self.most_bulk, sum(job.cls == "bulk" for job in running))


def replay(comes: list[tuple[int, int, str, str]], offer: Offer, preset: str, kept: int, seed: int) -> Watched:
    jobs = [
        Job(n, at * SECOND, took * SECOND, name, "eva", cls)
        for n, (at, took, name, cls) in enumerate(sorted(comes, key=lambda one: one[0]))
    ]
    reserve = Reserve(kept, 0.0, frozenset({"bulk"}))
    farmer = Farmer(PRESETS[preset], {offer.name: offer}, lambda job: job.cls, reserve=reserve)
    world = Watched(jobs, (offer,), farmer, Chance(seed))

    def turn(now: World) -> None:
        farmer.turn(now)
        world.look()

    world.run(turn)
    return world


@settings(max_examples=30, deadline=None)
@given(
    comes=COMES,
    offer=OFFERS,
    preset=st.sampled_from(["thrifty", "default", "fast"]),
    kept=st.sampled_from([0, 0, 1, 2]),
    seed=st.integers(0, 9),
)
def test_whatever_comes(
    comes: list[tuple[int, int, str, str]], offer: Offer, preset: str, kept: int, seed: int
) -> None:
    world = replay(comes, offer, preset, kept, seed)
    work = sum(job.duration for job in world.jobs)
    assert world.done.keys() == {job.number for job in world.jobs}  # 11: nothing is lost
    assert not world.alive()
    assert world.paid * offer.slots >= work  # 6
    assert world.paid >= sum(
        max(offer.min_bill, machine.ready_at - machine.asked) for machine in world.sold if not offer.loss
    )
    if kept:
        assert world.most_bulk <= max(1, offer.ceiling - kept)
    boots = [machine.ready_at - machine.asked for machine in world.sold]
    patience = PRESETS[preset].boots_kept * max([offer.boot, *boots])  # 4
    assert world.empty_at is not None
    assert world.empty_at - world.last_end <= max(patience, offer.min_bill, 3 * SECOND) + TICK


@settings(max_examples=8, deadline=None)
@given(comes=COMES, offer=OFFERS, preset=st.sampled_from([*PRESETS]), later=st.integers(1, 2000))
def test_a_day_that_begins_later_goes_as_this_one(
    comes: list[tuple[int, int, str, str]], offer: Offer, preset: str, later: int
) -> None:
    one = replay(comes, offer, preset, 0, 3)
    again = replay(comes, offer, preset, 0, 3)
    assert (one.paid, one.done) == (again.paid, again.done)
    if preset == "base":  # it knows the hours of the week
        return
    week = 7 * 24 * 3600
    moved = replay([(at + later * week, *rest) for at, *rest in comes], offer, preset, 0, 3)
    assert (moved.paid, moved.launches) == (one.paid, one.launches)
    assert {n: at - later * week * SECOND for n, at in moved.done.items()} == one.done


def test_the_score_of_a_replay_says_what_was_paid() -> None:
    offer = Offer()
    jobs = [Job(0, 0, 100 * SECOND, "a", "eva", "default")]
    world = Watched(jobs, (offer,), Farmer(PRESETS["fast"], {offer.name: offer}, lambda job: job.cls))
    found = play(world)
    (machine,) = world.sold
    assert world.empty_at is not None
    assert found["paid_machine_s"] == (world.empty_at - machine.asked) / SECOND  # 5
