"""The farm's own policy, case by case: what it orders, whom it sends away, and how it says so."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest

from schedules.demand import rows
from schedules.expansion import _walk, sources
from schedules.model import (
    Busy,
    Demand,
    Drain,
    Executor,
    Hours,
    Launch,
    Pool,
    Retire,
    Snapshot,
    Unmet,
    Waiting,
    Window,
)
from schedules.policy import default
from schedules.windows import hours

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)  # a Monday
S = timedelta(seconds=1)
LOCAL = Pool("local", Decimal("0.05"), 1, 2, 4, 1.5 * S, 2.5 * S)
CLOUD = Pool("cloud", Decimal("0.50"), 4, 64, 16, 60 * S, 90 * S, min_bill=60 * S)


def see(*pools, executors=(), waiting=(), running=(), schedule=(), now=NOW):
    demand = (Demand("interactive", tuple(waiting), tuple(running)),)
    return Snapshot(now, (), pools, tuple(executors), demand, tuple(schedule))


def wait(count=1, predicted=2 * S, slots=1, due=timedelta(), who="3"):
    return Waiting(count, NOW - 10 * S, NOW + due, predicted, slots, who)


def executor(name="a", pool=LOCAL, state="ready", busy=0, age=100 * S, idle=None, slots=None):
    """`idle` seconds without work, when it has none and is ready."""
    since = NOW - idle if idle is not None else None
    return Executor(name, pool.name, state, slots or pool.slots, busy, NOW - age, since)


def launches(decision):
    return [(act.pool, act.count, act.slots) for act in decision.actions if isinstance(act, Launch)]


def gone(decision):
    return [act.executor for act in decision.actions if isinstance(act, Retire)]


def drained(decision):
    return [act.executor for act in decision.actions if isinstance(act, Drain)]


def always(name="all day", pool=LOCAL, **said):
    return Window(name, "UTC", frozenset(range(7)), time(0), time(0), {pool.name: Hours(**said)})


# Scale up


def test_nothing_there_and_nothing_to_do_is_nothing():
    decision = default(see(LOCAL))
    assert (decision.actions, decision.look_again, decision.unmet) == ((), None, ())


def test_a_backlog_fills_the_pool_and_says_why():
    decision = default(see(LOCAL, waiting=[wait(24)]))
    assert decision.actions == (
        Launch(
            "local",
            2,
            1,
            "24 tasks of job 3 wait, 0 slots free before 10:00:01; pool local boots in 1.5 s",
            "3",
        ),
    )
    assert decision.unmet == (Unmet("3", 22, "pool local is at its ceiling of 2 slots", ("ceiling",)),)


def test_one_task_gets_one_executor():
    assert launches(default(see(LOCAL, waiting=[wait()]))) == [("local", 1, 1)]


def test_an_idle_slot_is_enough_for_one_task():
    seen = see(LOCAL, executors=[executor(idle=S)], waiting=[wait()])
    assert default(seen).actions == ()


def test_what_boots_is_counted_on_until_its_95th_percentile():
    on_its_way = [executor("a", CLOUD, "booting", age=89 * S)]
    assert launches(default(see(CLOUD, executors=on_its_way, waiting=[wait(4)]))) == []
    late = [replace(on_its_way[0], since=NOW - 90 * S)]
    assert launches(default(see(CLOUD, executors=late, waiting=[wait(4, 600 * S)]))) == [("cloud", 1, 4)]


def test_it_looks_again_when_that_has_passed():
    seen = see(CLOUD, executors=[executor("a", CLOUD, "ordered", age=80 * S)], waiting=[wait(4)])
    assert default(seen).look_again == NOW + 10 * S


def test_short_tasks_share_a_new_machine_and_long_ones_do_not():
    """A tenth of a boot, at most 5 s of work, is packed on each new slot."""
    assert launches(default(see(CLOUD, waiting=[wait(100, 0.1 * S)]))) == [("cloud", 1, 4)]
    assert launches(default(see(CLOUD, waiting=[wait(16, 600 * S)]))) == [("cloud", 4, 4)]


def test_a_task_that_can_wait_for_an_expected_slot_orders_nothing():
    busy = executor("a", CLOUD, busy=4)
    patient = wait(4, 600 * S, due=300 * S)
    for finish, expected in ((200, []), (400, [("cloud", 1, 4)])):
        running = [Busy(NOW + finish * S) for _ in range(4)]
        assert launches(default(see(CLOUD, executors=[busy], waiting=[patient], running=running))) == expected


def test_a_patient_backlog_with_no_slot_at_all_is_served_eagerly():
    assert launches(default(see(CLOUD, waiting=[wait(1, due=900 * S)]))) == [("cloud", 1, 4)]


def test_an_attempt_longer_than_predicted_promises_nothing():
    seen = see(CLOUD, executors=[executor("a", CLOUD, busy=4)], waiting=[wait()], running=[Busy(NOW - S, 4)])
    assert launches(default(seen)) == [("cloud", 1, 4)]


def test_a_large_task_gets_an_executor_of_its_size():
    assert launches(default(see(CLOUD, waiting=[wait(2, 600 * S, slots=6)]))) == [("cloud", 2, 6)]


def test_a_task_larger_than_any_executor_is_unmet():
    decision = default(see(LOCAL, CLOUD, waiting=[wait(slots=17)]))
    assert launches(decision) == []
    assert "pool local gives 4 slots at most; pool cloud gives 16 slots at most" in decision.unmet[0].why


def test_without_pools_it_says_so():
    assert default(see(waiting=[wait()])).unmet == (Unmet("3", 1, "there is no pool"),)


def test_free_slots_on_two_executors_do_not_add_up():
    two = [executor("a", idle=S), executor("b", idle=S)]
    pool = replace(LOCAL, ceiling=4)
    assert launches(default(see(pool, executors=two, waiting=[wait(slots=2)]))) == [("local", 1, 2)]


def test_pools_in_order_of_price_for_boot_and_task():
    """Local has the lower price and boots sooner; the cloud gets what it cannot hold."""
    assert launches(default(see(CLOUD, LOCAL, waiting=[wait(10, 600 * S)]))) == [("local", 2, 1), ("cloud", 2, 4)]


def test_a_slow_boot_makes_a_cheap_pool_dear_for_short_tasks():
    slow = replace(LOCAL, name="slow", boot=600 * S, boot_p95=900 * S, ceiling=8)
    quick = replace(LOCAL, name="quick", price_per_hour=Decimal("0.10"), boot=6 * S, boot_p95=9 * S)
    assert launches(default(see(slow, quick, waiting=[wait(1, 10 * S)]))) == [("quick", 1, 1)]
    assert launches(default(see(slow, quick, waiting=[wait(1, 36_000 * S)]))) == [("slow", 1, 1)]


def test_while_a_breaker_is_open_the_next_pool_is_asked():
    shut = replace(LOCAL, breaker_open_until=NOW + 60 * S)
    assert launches(default(see(shut, CLOUD, waiting=[wait()]))) == [("cloud", 1, 4)]
    alone = default(see(shut, waiting=[wait()]))
    assert launches(alone) == []
    assert alone.look_again == NOW + 60 * S
    assert alone.unmet[0].why == "pool local had no machines and is asked again at 10:01:00"


def test_a_breaker_that_closed_is_no_obstacle():
    assert launches(default(see(replace(LOCAL, breaker_open_until=NOW), waiting=[wait()]))) == [("local", 1, 1)]


def test_the_first_job_to_fall_due_is_the_one_named():
    rows = [wait(who="later", due=9 * S), wait(who="first")]
    assert [act.who for act in default(see(CLOUD, waiting=rows)).actions] == ["first"]


def test_two_rows_alike_are_two_needs():
    pool = replace(LOCAL, ceiling=9)
    assert launches(default(see(pool, waiting=[wait(3), wait(3)]))) == [("local", 6, 1)]


def test_draining_executors_are_no_capacity_but_take_their_room():
    leaving = [executor("a", state="draining", busy=1)]
    assert launches(default(see(LOCAL, executors=leaving, waiting=[wait(5)]))) == [("local", 1, 1)]


def test_what_runs_on_a_draining_executor_is_not_expected_back():
    leaving = executor("a", CLOUD, "draining", busy=4)
    patient = wait(4, 600 * S, due=300 * S)
    for on, expected in (("", []), ("a", [("cloud", 1, 4)])):
        running = [Busy(NOW + 200 * S, 4, on)]
        assert launches(default(see(CLOUD, executors=[leaving], waiting=[patient], running=running))) == expected


def test_short_tasks_handed_out_behind_each_other_are_no_more_slots_than_there_are():
    busy = executor("a", CLOUD, busy=4)
    crowd = [Busy(NOW + 10 * S, 1, "a") for _ in range(40)]
    for due, expected in ((99, [("cloud", 1, 4)]), (102, [])):
        seen = see(CLOUD, executors=[busy], waiting=[wait(4, 600 * S, due=due * S)], running=crowd)
        assert launches(default(seen)) == expected


# Scale down


@pytest.mark.parametrize(("idle", "expected"), [(2.9, []), (3, ["a"])])
def test_a_quick_boot_keeps_an_idle_executor_three_seconds(idle, expected):
    decision = default(see(LOCAL, executors=[executor(idle=idle * S)]))
    assert gone(decision) == expected
    assert expected or decision.look_again == NOW + 0.1 * S


@pytest.mark.parametrize(("idle", "expected"), [(89, []), (90, ["a"])])
def test_a_slow_one_keeps_it_a_boot_and_a_half(idle, expected):
    assert gone(default(see(CLOUD, executors=[executor("a", CLOUD, idle=idle * S, age=900 * S)]))) == expected


def test_the_pool_or_a_window_may_say_how_long():
    pool = replace(LOCAL, idle=20 * S)
    assert gone(default(see(pool, executors=[executor(idle=19 * S)]))) == []
    assert gone(default(see(pool, executors=[executor(idle=19 * S)], schedule=[always(idle=5 * S)]))) == ["a"]


def test_the_reason_has_the_numbers():
    assert default(see(LOCAL, executors=[executor(idle=4 * S)])).actions == (
        Retire("a", "idle for 4 s, pool local keeps an idle executor 3 s; nothing waits for it"),
    )


def test_what_is_paid_for_stays():
    pool = replace(CLOUD, idle=S)
    decision = default(see(pool, executors=[executor("a", pool, age=50 * S, idle=20 * S)]))
    assert (gone(decision), decision.look_again) == ([], NOW + 10 * S)
    assert gone(default(see(pool, executors=[executor("a", pool, age=60 * S, idle=20 * S)]))) == ["a"]


def test_a_busy_executor_is_never_sent_away():
    assert default(see(LOCAL, executors=[executor(busy=1)], running=[Busy(NOW - 900 * S)])).actions == ()


def test_an_idle_executor_stays_while_something_waits_for_it_and_the_most_recently_busy_one_is_it():
    two = [executor("old", idle=50 * S), executor("new", idle=10 * S)]
    assert gone(default(see(LOCAL, executors=two, waiting=[wait()]))) == ["old"]


def test_a_floor_is_a_total_and_the_longest_idle_go():
    floor = replace(LOCAL, floor=1, ceiling=4)
    three = [executor("a", idle=5 * S), executor("b", idle=50 * S), executor("c", busy=1)]
    assert gone(default(see(floor, executors=three))) == ["b", "a"]
    assert gone(default(see(floor, executors=three[:2]))) == ["b"]


def test_a_booting_executor_goes_when_its_work_was_cancelled_and_its_minimum_is_over():
    booting = executor("a", state="booting", age=S)
    assert gone(default(see(LOCAL, executors=[booting]))) == ["a"]
    paid = executor("a", CLOUD, "ordered", age=30 * S)
    decision = default(see(CLOUD, executors=[paid]))
    assert (gone(decision), decision.look_again) == ([], NOW + 30 * S)


def test_idle_ones_too_small_for_what_waits_make_room_under_the_ceiling():
    small = [executor(name, idle=5 * S) for name in "ab"]
    decision = default(see(LOCAL, executors=small, waiting=[wait(slots=2)]))
    assert sorted(gone(decision)) == ["a", "b"]
    assert launches(decision) == []
    assert launches(default(see(LOCAL, waiting=[wait(slots=2)]))) == [("local", 1, 2)]


# By the clock


def test_a_window_raises_the_floor_and_says_so():
    decision = default(see(CLOUD, schedule=[always("office", CLOUD, floor=2)]))
    assert decision.actions == (Launch("cloud", 2, 4, "window office keeps 2 executors and 0 are there"),)


def test_a_floor_serves_demand_and_bows_to_ceiling_and_breaker():
    assert launches(default(see(replace(LOCAL, floor=2), waiting=[wait(2)]))) == [("local", 2, 1)]
    assert launches(default(see(replace(LOCAL, floor=9)))) == [("local", 2, 1)]
    assert launches(default(see(replace(LOCAL, floor=1, breaker_open_until=NOW + S)))) == []


def test_a_window_with_ceiling_zero_closes_the_pool():
    decision = default(see(LOCAL, waiting=[wait()], schedule=[always("night", ceiling=0)]))
    assert decision.unmet == (Unmet("3", 1, "pool local is at its ceiling of 0 slots, window night", ("ceiling",)),)


def test_above_a_new_ceiling_the_idle_go_and_the_busy_drain():
    three = [executor("busy", busy=1), executor("idle", idle=S), executor("also", busy=1)]
    decision = default(see(LOCAL, executors=three, schedule=[always("night", ceiling=1)]))
    assert gone(decision) == ["idle"]
    assert drained(decision) == ["also"]
    assert "pool local has 3 slots, window night allows 1" in {act.why for act in decision.actions}


def test_it_looks_again_at_the_next_edge():
    office = Window("office", "UTC", frozenset(range(7)), time(8), time(18), {"local": Hours(floor=0)})
    assert default(see(LOCAL, schedule=[office])).look_again == NOW + timedelta(hours=8)


def test_the_price_of_the_hour_decides_between_pools():
    cheap = always("night tariff", CLOUD, price_per_hour=Decimal("0.0001"))
    seen = see(LOCAL, CLOUD, waiting=[wait(1, 600 * S)])
    assert launches(default(seen)) == [("local", 1, 1)]
    assert launches(default(replace(seen, schedule=(cheap,)))) == [("cloud", 1, 4)]


# The two safety nets: asked again it would order more, and sending away would order again


def test_it_orders_until_asking_again_orders_nothing():
    """A walk packs its own orders tighter than the next one, which finds them there: only the repeat settles it."""
    pool = replace(LOCAL, ceiling=5, max_slots=2, boot=S, boot_p95=S)
    seen = see(pool, waiting=[wait(predicted=timedelta()), wait(predicted=timedelta()), wait(predicted=S, slots=2)])
    decision = default(seen)
    found = launches(decision)
    there = [
        Executor(f"{place}-{n}", name, "ordered", slots, 0, NOW)
        for place, (name, count, slots) in enumerate(found)
        for n in range(count)
    ]
    assert launches(default(replace(seen, executors=tuple(there)))) == []
    once = _walk(rows(seen), [], sources(seen.pools, {pool.name: hours(pool, (), NOW)}, (), NOW), NOW).launches
    assert sum(act.count * act.slots for act in once) < sum(count * slots for _, count, slots in found)


def test_nobody_is_sent_away_in_whose_place_another_would_be_ordered():
    """By their sizes the waiting tasks fit on two executors; in the order in which they are due they need the third."""
    pool = Pool("cloud", Decimal(1), 3, 12, 3, 60 * S, 60 * S)
    three = [
        executor(name, pool, idle=idle, age=9000 * S) for name, idle in (("a", 1 * S), ("b", 2 * S), ("c", 3600 * S))
    ]
    waiting = [wait(2, due=-2 * S, predicted=600 * S), wait(2, due=-1 * S, predicted=600 * S, slots=2)]
    decision = default(see(pool, executors=three, waiting=waiting))
    assert (gone(decision), launches(decision)) == ([], [])
    without = default(see(pool, executors=three[:2], waiting=waiting))
    assert launches(without) == [("cloud", 1, 3)]
    assert gone(default(see(pool, executors=three, waiting=waiting[1:]))) == ["c"]
