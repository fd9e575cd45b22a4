"""What windows say beside floors and ceilings: dates, idle targets, pools allowed, a price cap, lanes; and who wins."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from schedules.model import Demand, Drain, Executor, Hours, Launch, Pool, Retire, Snapshot, Waiting, Window
from schedules.policy import default
from schedules.shadows import never_opens, says_nothing
from schedules.shift import shifted
from schedules.windows import aimed, closed_lanes, hours, is_open, lane_opens, near, week

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)  # a Monday
S = timedelta(seconds=1)
HOUR = 3600 * S
LOCAL = Pool("local", Decimal("0.05"), 1, 4, 4, S, S)
CLOUD = Pool("cloud", Decimal("0.50"), 1, 8, 4, S, S)
EVERY = frozenset(range(7))


def window(name="w", start=time(), end=time(), pools=None, **more):
    return Window(name, "UTC", more.pop("days", EVERY), start, end, pools or {}, **more)


def see(*windows, pools=(LOCAL, CLOUD), executors=(), waiting=20):
    demand = Demand("default", (Waiting(waiting, NOW - S, NOW - S, 600 * S, who="3"),))
    return Snapshot(NOW, (), tuple(pools), tuple(executors), (demand,), windows)


def executor(name, pool=LOCAL, busy=0, **more):
    return Executor(name, pool.name, "ready", 1, busy, NOW - 600 * S, None if busy else NOW - S, **more)


def launches(decision):
    return {act.pool: act.count for act in decision.actions if isinstance(act, Launch)}


def test_a_pool_that_no_window_allows_is_not_asked():
    assert launches(default(see())) == {"local": 4, "cloud": 8}
    decision = default(see(window("night", allowed=frozenset({"local"}))))
    assert launches(decision) == {"local": 4}
    assert decision.unmet[0].why.endswith("window night allows local and not pool cloud")
    assert decision.unmet[0].obstacles == ("ceiling", "schedule")
    assert launches(default(see(window("night", allowed=frozenset())))) == {}


def test_a_pool_dearer_than_the_cap_is_not_asked():
    decision = default(see(window("night", price_cap=Decimal("0.1"))))
    assert launches(decision) == {"local": 4}
    assert "window night pays 0.1 an hour at most, and pool cloud costs 0.50" in decision.unmet[0].why
    assert launches(default(see(window("night", price_cap=Decimal("0.5"))))) == {"local": 4, "cloud": 8}


def test_the_cap_is_held_against_the_price_of_the_hour():
    cheap = window("cheap", time(9), time(11), {"cloud": Hours(price_per_hour=Decimal("0.08"))})
    assert launches(default(see(window("cap", price_cap=Decimal("0.1")), cheap))) == {"local": 4, "cloud": 8}


def test_an_edge_drains_a_pool_and_ends_no_running_task():
    there = [executor("idle", CLOUD), executor("busy", CLOUD, busy=1), executor("mine", busy=1)]
    decision = default(see(window("night", allowed=frozenset({"local"})), executors=there, waiting=0))
    assert [(type(a), a.executor) for a in decision.actions] == [(Drain, "busy"), (Retire, "idle")]
    assert all("window night allows local" in a.why for a in decision.actions)


def test_what_a_person_holds_is_told_before_the_hours():
    held = replace(CLOUD, closed="held", closed_why="pool cloud is held by ada")
    decision = default(see(window("night", allowed=frozenset({"local"})), pools=(LOCAL, held)))
    assert decision.unmet[0].why.endswith("pool cloud is held by ada")


def test_a_floor_is_no_reason_to_order_from_a_closed_pool():
    floor = {"cloud": Hours(floor=2)}
    assert launches(default(see(window("a", pools=floor), waiting=0))) == {"cloud": 2}
    shut = window("b", allowed=frozenset({"local"}))
    assert launches(default(see(window("a", pools=floor), shut, waiting=0))) == {}


def test_an_idle_target_is_kept_beside_those_that_work():
    office = window("office", pools={"local": Hours(spare=2)})
    there = [executor("a", busy=1), executor("b", busy=1)]
    decision = default(see(office, pools=(replace(LOCAL, ceiling=9),), executors=there, waiting=0))
    assert launches(decision) == {"local": 2}
    assert decision.actions[0].why == "window office keeps 2 executors idle beside the 2 that work and 2 are there"
    there += [executor("c"), executor("d")]
    later = replace(see(office, executors=there, waiting=0), now=NOW + HOUR)
    assert default(later).actions == ()  # they stay, however long they idle
    there += [executor("e")]
    later = replace(see(office, executors=there, waiting=0), now=NOW + HOUR)
    assert len([a for a in default(later).actions if isinstance(a, Retire)]) == 1


def test_an_idle_target_and_a_floor_are_not_added():
    found = hours(LOCAL, [window(pools={"local": Hours(floor=3, spare=1)})], NOW)
    assert aimed(found, "local", [executor("a", busy=1)]).floor == 3
    three = [executor(name, busy=1) for name in "abc"]
    assert (aimed(found, "local", three).floor, aimed(found, "local", three).targeted) == (4, True)
    assert aimed(found, "cloud", three).floor == 3


def test_nothing_goes_above_the_ceiling_for_an_idle_target():
    office = window("office", pools={"local": Hours(spare=3, ceiling=2)})
    assert launches(default(see(office, pools=(LOCAL,), executors=[executor("a", busy=1)], waiting=0))) == {"local": 1}


def test_each_setting_is_attributed_to_its_window():
    day = window("day", time(8), time(20), {"local": Hours(floor=1, ceiling=3)})
    lunch = window("lunch", time(9), time(11), {"local": Hours(ceiling=2)})
    under = window("under", time(8), time(20), {"local": Hours(ceiling=1)})
    found = hours(LOCAL, [under, day, lunch], NOW)
    assert (found.of("floor"), found.of("ceiling"), found.window) == ("day", "lunch", "lunch")
    assert found.shadowed == ("under",)
    assert hours(LOCAL, [under, day, lunch], NOW + 3 * HOUR).shadowed == ("under",)
    full = default(see(under, day, lunch, pools=(LOCAL,), executors=[executor("a", busy=1), executor("b", busy=1)]))
    assert "ceiling of 2 slots, window lunch" in full.unmet[0].why


def test_dates_are_the_days_on_which_it_begins():
    xmas = window("xmas", time(22), time(6), dates=frozenset({"2026-12-24", "2026-12-31"}))
    assert is_open(xmas, datetime(2026, 12, 24, 23, tzinfo=UTC))
    assert is_open(xmas, datetime(2026, 12, 25, 5, tzinfo=UTC))
    assert not is_open(xmas, datetime(2026, 12, 25, 22, tzinfo=UTC))
    assert not is_open(replace(xmas, holidays=frozenset({"2026-12-24"})), datetime(2026, 12, 24, 23, tzinfo=UTC))
    assert hours(LOCAL, [replace(xmas, pools={"local": Hours(floor=1)})], NOW).until == NOW + timedelta(days=8)


@pytest.mark.parametrize(
    ("more", "never"),
    [
        ({"days": frozenset()}, True),
        ({"dates": frozenset()}, True),
        ({"dates": frozenset({"2026-03-02"}), "days": frozenset({1})}, True),  # a Monday
        ({"dates": frozenset({"2026-03-02"}), "holidays": frozenset({"2026-03-02"})}, True),
        ({"dates": frozenset({"2026-03-02"}), "days": frozenset({0})}, False),
        ({}, False),
    ],
)
def test_a_window_that_never_opens_is_known(more, never):
    assert never_opens(window(price_cap=Decimal(1), **more)) is never


def test_a_date_whose_hour_the_clocks_leave_out_never_opens():
    odd = Window("odd", "Europe/Berlin", EVERY, time(2, 10), time(2, 50), {}, dates=frozenset({"2026-03-29"}))
    assert never_opens(odd)
    assert not never_opens(replace(odd, dates=frozenset({"2026-03-29", "2026-03-30"})))
    assert not never_opens(replace(odd, end=time(3, 10)))


def test_a_window_says_something_by_any_of_its_settings():
    assert says_nothing(window())
    assert says_nothing(window(pools={"local": Hours()}))
    for one in (window(price_cap=Decimal(0)), window(lanes=frozenset()), window(pools={"local": Hours(spare=0)})):
        assert not says_nothing(one)


def test_lanes_that_no_window_leaves_open_are_closed():
    night = window("night", time(22), time(6), lanes=frozenset({"bulk"}))
    lanes = ("interactive", "default", "bulk")
    assert closed_lanes([night], lanes, NOW) == {}
    at = NOW + 13 * HOUR
    assert closed_lanes([night], lanes, at) == {"interactive": "night", "default": "night"}
    assert lane_opens([night], "default", at) == datetime(2026, 3, 3, 6, tzinfo=UTC)
    over = window("release", time(23), time(23, 30), lanes=frozenset(lanes))
    assert closed_lanes([night, over], lanes, at) == {}
    assert lane_opens([night, over], "default", at - HOUR) == at


def test_a_lane_may_be_closed_for_ever():
    assert lane_opens([window(lanes=frozenset())], "bulk", NOW) is None


def test_a_lane_s_edge_is_when_to_look_again():
    night = window("night", time(22), time(6), lanes=frozenset({"bulk"}))
    assert default(see(night, waiting=0)).look_again == datetime(2026, 3, 2, 22, tzinfo=UTC)


def test_what_stands_in_a_snapshot_is_near_and_means_the_same():
    year = frozenset(date(2026, 1, 1).fromordinal(date(2026, 1, 1).toordinal() + n).isoformat() for n in range(365))
    windows = [
        window("a", time(22), time(6), {"local": Hours(floor=1)}, holidays=year - {"2026-03-04"}),
        window("b", pools={"local": Hours(ceiling=1)}, dates=frozenset({"2026-03-09", "2027-01-01"})),
    ]
    close = near(windows, NOW)
    assert max(len(w.holidays) for w in close) < 20
    assert close[1].dates == frozenset({"2026-03-09"})
    end = NOW + timedelta(days=7)
    assert week(close, LOCAL, NOW, end) == week(windows, LOCAL, NOW, end)


def test_the_backlog_of_now_is_planned_with_at_another_time():
    night = window("night", time(22), time(6), {"local": Hours(ceiling=1)}, allowed=frozenset({"local"}))
    seen = see(night, executors=[executor("a", CLOUD, busy=1)])
    then = shifted(seen, NOW + 13 * HOUR)
    assert (then.demand[0].waiting[0].due - then.now) == (seen.demand[0].waiting[0].due - seen.now)
    assert then.executors[0].since - then.now == seen.executors[0].since - seen.now
    assert launches(default(seen)) == {"local": 4, "cloud": 7}
    assert launches(default(then)) == {"local": 1}
