"""Slots that some lanes leave to the others: what the policy orders, keeps and says, and what a replay shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from farm.config import BadConfig, FarmConfig, load
from farm.simulate.farmer import Farmer
from farm.simulate.pools import Offer
from farm.simulate.score import percentile, play
from farm.simulate.trace import SECOND, Job
from farm.simulate.world import World
from schedules.model import Busy, Demand, Executor, Launch, Pool, Reserve, Retire, Snapshot, Waiting
from schedules.policy import default
from schedules.presets import PRESETS
from schedules.reserve import Allowed, admitted, allowed

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
S = timedelta(seconds=1)
POOL = Pool("pool", Decimal(1), 1, 20, 4, 60 * S, 60 * S)
BULK = frozenset({"bulk"})
TWO = Reserve(2, 0.0, BULK)
HALF_HOUR = 1800 * S


def see(bulk=(), people=(), running=0, executors=(), reserve=TWO, pools=(POOL,)):
    busy = tuple(Busy(NOW + 900 * S, 1, f"e{n}") for n in range(running))
    demand = (Demand("bulk", tuple(bulk), busy), Demand("interactive", tuple(people)))
    there = tuple(Executor(f"e{n}", "pool", "ready", 1, 1, NOW - 900 * S) for n in range(running))
    return Snapshot(NOW, (), pools, (*there, *executors), demand, reserve=reserve)


def rows(count, predicted=HALF_HOUR, slots=1, due=-60 * S, who="7"):
    return [Waiting(count, NOW - 600 * S, NOW + due, predicted, slots, who)]


def ordered(decision):
    return sum(act.count * act.slots for act in decision.actions if isinstance(act, Launch))


def test_bulk_orders_no_more_than_what_it_may_have():
    decision = default(see(rows(3000)))
    assert ordered(decision) == 18
    (left,) = decision.unmet
    assert (left.who, left.slots, left.obstacles) == ("7", 2982, ("reserve",))
    assert left.why == "lane bulk leaves others all but 18 slots"


def test_without_a_reserve_bulk_takes_all():
    assert ordered(default(see(rows(3000), reserve=Reserve()))) == 20
    assert ordered(default(see(rows(3000), reserve=Reserve(0, 0.0, BULK)))) == 20


def test_others_have_what_is_left_to_them():
    seen = see(rows(3000), rows(1, 60 * S, who="8"), running=18)
    assert ordered(default(seen)) == 1
    assert ordered(default(see(rows(3000), rows(5, 60 * S, who="8"), running=18))) == 2


def test_nothing_stands_idle_for_the_others():
    idle = Executor("idle", "pool", "ready", 1, 0, NOW - 900 * S, NOW - 300 * S)
    decision = default(see(rows(3000), running=18, executors=[idle]))
    assert [act.executor for act in decision.actions if isinstance(act, Retire)] == ["idle"]
    assert ordered(decision) == 0
    decision = default(see(rows(3000), running=17, executors=[idle]))
    assert decision.actions == ()  # it is bulk's


def test_a_part_of_all_ceilings():
    assert allowed(see(reserve=Reserve(2, 0.5, BULK))) == Allowed(BULK, 10)
    assert allowed(see(reserve=Reserve(2, 0.05, BULK))) == Allowed(BULK, 18)
    assert allowed(see(reserve=Reserve(30, 0.0, BULK))) == Allowed(BULK, 1)


def test_a_pool_that_orders_nothing_counts_with_what_it_has():
    shut = replace(POOL, breaker_open_until=NOW + 60 * S)
    assert allowed(see(running=6, pools=(shut, replace(POOL, name="other")))) == Allowed(BULK, 24)
    assert allowed(see(pools=(replace(POOL, closed="held"), replace(POOL, name="other")))) == Allowed(BULK, 18)


def test_short_tasks_are_as_many_as_a_slot_takes_one_after_the_other():
    assert ordered(default(see(rows(3000, S, due=300 * S)))) == 13  # as without a reserve
    assert ordered(default(see(rows(30_000, S, due=300 * S)))) == 18
    assert ordered(default(see(rows(200, S, due=-900 * S), running=17))) == 1


def test_a_task_larger_than_all_that_is_left_to_its_lane_begins_alone():
    pool = replace(POOL, ceiling=4)
    assert ordered(default(see(rows(2, slots=4), pools=(pool,)))) == 4
    assert ordered(default(see(rows(2, slots=4), running=1, pools=(pool,)))) == 0
    most = Allowed(BULK, 2)
    assert [most.room(0, slots) for slots in (4, 2, 1)] == [1, 1, 2]
    assert [most.room(1, 4), most.room(1, 1), most.room(2, 1)] == [0, 1, 0]


def test_a_wide_task_is_not_overtaken_by_narrow_ones():
    wide, narrow = rows(1, slots=4, due=-90 * S, who="1"), rows(50, who="2")
    seen, left = admitted(see([*narrow, *wide], running=15))
    assert [w.count for d in seen.demand for w in d.waiting] == []
    assert sum(u.slots for u in left) == 54


def test_the_first_to_be_due_is_the_first_to_begin():
    seen, _ = admitted(see([*rows(10, who="2"), *rows(10, due=-90 * S, who="1")], running=6))
    assert [(w.who, w.count) for d in seen.demand for w in d.waiting] == [("2", 2), ("1", 10)]


def test_farm_toml(tmp_path):
    path = tmp_path / "farm.toml"
    path.write_text('[reserve]\nslots = 2\npart = 0.1\nlanes = ["bulk", "default"]\n')
    assert load(path).reserve.reserve() == Reserve(2, 0.1, frozenset({"bulk", "default"}))
    assert not FarmConfig().reserve.reserves
    for wrong, said in (
        ('lanes = ["bulky"]', "there is no lane 'bulky'"),
        ("part = 1.5", "part"),
        ("slots = -1", "slots"),
        ("lanes = []", "lanes"),
        ("slot = 1", "unknown key"),
    ):
        path.write_text(f"[reserve]\n{wrong}\n")
        with pytest.raises(BadConfig, match=said) as error:
            load(path)
        assert "line 2" in (error.value.where or "")


def crowd(count=300, ceiling=20):
    """Half-hours of bulk work at once, and a minute of a person's every ten minutes."""
    bulk = [Job(n, 0, 1800 * SECOND, f"b{n}", "bot", "bulk") for n in range(count)]
    people = [Job(count + n, (1000 + 600 * n) * SECOND, 60 * SECOND, "curl", "eva", "interactive") for n in range(20)]
    jobs = sorted([*bulk, *people], key=lambda job: (job.arrival, job.number))
    offer = Offer(ceiling=ceiling)
    return jobs, offer


@pytest.mark.parametrize("slots", [0, 2])
def test_a_minute_of_work_never_waits_behind_half_an_hour(slots):
    jobs, offer = crowd()
    farmer = Farmer(PRESETS["default"], {offer.name: offer}, lambda job: job.cls, reserve=replace(TWO, slots=slots))
    world = World(jobs, [offer], farmer)
    found = play(world)
    assert (len(world.done), found["peak"] <= 20) == (len(jobs), True)
    waits = sorted((world.begun[job.number] - job.arrival) / SECOND for job in jobs if job.cls == "interactive")
    if slots:
        assert percentile(waits, 0.99) <= 60 + 60
    else:
        assert percentile(waits, 0.95) > 300  # what the reserve is for
