"""Opening hours in named zones: overnight, weekdays, holidays, overlaps, and the two nights a year that are odd."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.model import Hours, Pool, Window
from schedules.shadows import never_wins
from schedules.windows import hours, is_open, week

BERLIN = ZoneInfo("Europe/Berlin")
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
POOL = Pool("local", Decimal("0.05"), 1, 8, 4, SECOND, SECOND)
WEEKDAYS = frozenset(range(5))
ALL = frozenset(range(7))


def window(name, start, end, days=ALL, zone="Europe/Berlin", holidays=(), pool="local", **said):
    """A window that says `said` of one pool; a ceiling of 1 unless told."""
    return Window(name, zone, days, start, end, {pool: Hours(**(said or {"ceiling": 1}))}, frozenset(holidays))


def berlin(month, day, hour=0, minute=0, second=0, fold=0):
    return datetime(2026, month, day, hour, minute, second, tzinfo=BERLIN, fold=fold).astimezone(UTC)


def test_without_windows_the_pool_says_it_all_for_ever():
    found = hours(POOL, [], berlin(3, 2, 9))
    assert (found.floor, found.ceiling, found.idle, found.window, found.until) == (0, 8, None, "", None)
    assert found.price_per_hour == POOL.price_per_hour


def test_an_open_window_says_only_what_it_says():
    office = window("office", time(8), time(18), WEEKDAYS, floor=2, idle=90 * SECOND)
    found = hours(POOL, [office], berlin(3, 2, 8))
    assert (found.floor, found.ceiling, found.idle, found.window) == (2, 8, 90 * SECOND, "office")
    assert found.until == berlin(3, 2, 18)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (berlin(3, 2, 7, 59, 59), False),
        (berlin(3, 2, 8), True),
        (berlin(3, 2, 17, 59, 59), True),
        (berlin(3, 2, 18), False),
        (berlin(3, 7, 12), False),  # a Saturday
        (berlin(3, 6, 12), True),
    ],
)
def test_it_opens_at_its_start_and_is_closed_at_its_end(moment, expected):
    assert is_open(window("office", time(8), time(18), WEEKDAYS), moment) is expected


def test_a_night_belongs_to_the_day_it_starts():
    night = window("night", time(22), time(6), frozenset({4}))  # Fridays
    assert is_open(night, berlin(3, 6, 23))
    assert is_open(night, berlin(3, 7, 5, 59))
    assert not is_open(night, berlin(3, 7, 6))
    assert not is_open(night, berlin(3, 6, 5))
    assert not is_open(night, berlin(3, 7, 23))


def test_equal_start_and_end_are_a_whole_day():
    sunday = window("sunday", time(6), time(6), frozenset({6}))
    assert not is_open(sunday, berlin(3, 8, 5, 59))
    assert is_open(sunday, berlin(3, 8, 6))
    assert is_open(sunday, berlin(3, 9, 5, 59))
    assert not is_open(sunday, berlin(3, 9, 6))


def test_on_a_holiday_it_does_not_open_and_the_night_before_still_ends_in_it():
    night = window("night", time(22), time(6), holidays=["2026-05-01"])
    assert is_open(night, berlin(5, 1, 5))
    assert not is_open(night, berlin(5, 1, 23))
    assert not is_open(night, berlin(5, 2, 5))
    assert is_open(night, berlin(5, 2, 22))


def test_of_open_windows_the_last_wins_setting_by_setting():
    day = window("day", time(8), time(20), floor=1, ceiling=4)
    lunch = window("lunch", time(12), time(13), ceiling=6)
    found = hours(POOL, [day, lunch], berlin(3, 2, 12, 30))
    assert (found.floor, found.ceiling, found.window, found.until) == (1, 6, "lunch", berlin(3, 2, 13))
    reverse = hours(POOL, [lunch, day], berlin(3, 2, 12, 30))
    assert (reverse.floor, reverse.ceiling, reverse.window) == (1, 4, "day")


def test_windows_of_other_pools_do_not_matter():
    assert hours(POOL, [window("x", time(), time(), pool="ec2")], berlin(3, 2)).until is None


def test_the_same_instant_is_another_hour_elsewhere():
    tokyo = window("tokyo", time(9), time(10), zone="Asia/Tokyo")
    kolkata = window("kolkata", time(5, 30), time(6), zone="Asia/Kolkata")
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    assert is_open(tokyo, midnight)
    assert is_open(kolkata, midnight)
    assert not is_open(tokyo, midnight + HOUR)


SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 2:00 CET becomes 3:00 CEST
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)  # 3:00 CEST becomes 2:00 CET


def test_a_skipped_start_is_when_the_clocks_jump():
    odd = window("odd", time(2, 30), time(4))
    assert not is_open(odd, SPRING - SECOND)
    assert is_open(odd, SPRING)
    assert hours(POOL, [odd], SPRING - HOUR).until == SPRING
    assert hours(POOL, [odd], SPRING).until == berlin(3, 29, 4)


def test_a_window_inside_the_skipped_hour_does_not_happen():
    odd = window("odd", time(2, 10), time(2, 50))
    assert not any(is_open(odd, SPRING + n * 60 * SECOND) for n in range(-60, 60))
    assert hours(POOL, [odd], SPRING - 30 * 60 * SECOND).until == berlin(3, 30, 2, 10)


def test_a_repeated_hour_counts_both_times():
    odd = window("odd", time(2, 15), time(2, 45))
    opens = [berlin(10, 25, 2, 15), berlin(10, 25, 2, 15, fold=1)]
    assert opens[1] - opens[0] == HOUR
    assert all(is_open(odd, moment) and not is_open(odd, moment - SECOND) for moment in opens)
    edges, now = [], AUTUMN - HOUR
    for _ in range(4):
        now = hours(POOL, [odd], now).until
        edges.append(now)
    assert edges == [opens[0], opens[0] + HOUR / 2, opens[1], opens[1] + HOUR / 2]


def test_a_night_in_october_is_an_hour_longer():
    night = window("night", time(22), time(6))
    assert hours(POOL, [night], berlin(10, 24, 22)).until - berlin(10, 24, 22) == 9 * HOUR
    assert hours(POOL, [night], berlin(3, 28, 22)).until - berlin(3, 28, 22) == 7 * HOUR


ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana"])
CLOCKS = st.times().map(lambda t: t.replace(second=0, microsecond=0))
WINDOWS = st.builds(window, st.just("w"), CLOCKS, CLOCKS, st.frozensets(st.integers(0, 6)), ZONES)
MOMENTS = st.integers(0, 365 * 86400).map(lambda second: datetime(2026, 1, 1, tzinfo=UTC) + second * SECOND)


@given(st.lists(WINDOWS, min_size=1, max_size=3), MOMENTS, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_nothing_changes_before_until_and_something_may_then(windows, now, percent):
    found = hours(POOL, windows, now)
    assert found.until > now
    within = hours(POOL, windows, now + (found.until - now) * percent // 100)
    assert (within.ceiling, within.window, within.until) == (found.ceiling, found.window, found.until) or (
        found.until == now + timedelta(days=8)
    )


@given(WINDOWS, MOMENTS)
@settings(max_examples=60, deadline=None)
def test_the_wall_clock_alone_decides(one, now):
    """Read from the wall by hand, minute by minute: also in skipped and repeated hours."""
    wall = now.astimezone(ZoneInfo(one.zone))
    minute, start, end = (60 * t.hour + t.minute for t in (wall.time(), one.start, one.end))
    today, yesterday = wall.weekday() in one.days, (wall.weekday() - 1) % 7 in one.days
    by_hand = today and start <= minute < end
    if end <= start:
        by_hand = (today and minute >= start) or (yesterday and minute < end)
    assert is_open(one, now) is by_hand


def test_a_week_for_the_wall():
    office = window("office", time(8), time(18), WEEKDAYS, floor=2)
    found = week([office], POOL, berlin(3, 2))
    assert [s.hours.floor for s in found] == [0, 2] * 5 + [0]
    assert (found[0].start, found[-1].end) == (berlin(3, 2), berlin(3, 9))
    assert all(a.end == b.start for a, b in pairwise(found))
    assert found[1].start == berlin(3, 2, 8)
    assert found[1].hours.window == "office"


def test_a_week_without_windows_is_one_stretch():
    assert [(s.start, s.end) for s in week([], POOL, berlin(3, 2))] == [(berlin(3, 2), berlin(3, 9))]


NEVER = {
    "says nothing": [window("a", time(), time(), floor=None)],
    "no day": [window("a", time(8), time(9), frozenset())],
    "hidden": [window("a", time(8), time(9)), window("b", time(7), time(10))],
    "hidden by two": [window("a", time(8), time(10)), window("b", time(7), time(9)), window("c", time(9), time(11))],
    "hidden overnight": [window("a", time(1), time(2)), window("b", time(22), time(6))],
    "hidden by always": [window("a", time(8), time(9), zone="Asia/Tokyo"), window("b", time(), time())],
}
WINS = {
    "earlier hides nothing": [window("b", time(7), time(10)), window("a", time(8), time(9))],
    "a minute left": [window("a", time(8), time(9)), window("b", time(8, 1), time(9))],
    "another setting": [window("a", time(8), time(9)), window("b", time(7), time(10), floor=1)],
    "another pool": [window("a", time(8), time(9)), window("b", time(7), time(10), pool="ec2")],
    "a day left": [window("a", time(8), time(9)), window("b", time(7), time(10), WEEKDAYS)],
    "another zone": [window("a", time(8), time(9)), window("b", time(7), time(10), zone="Asia/Tokyo")],
    "a holiday left": [window("a", time(8), time(9)), window("b", time(7), time(10), holidays=["2026-05-01"])],
    "the night before monday": [
        window("a", time(1), time(2), frozenset({0})),
        window("b", time(22), time(6), WEEKDAYS),
    ],
}


@pytest.mark.parametrize("windows", NEVER.values(), ids=NEVER)
def test_a_window_that_can_never_win_is_named(windows):
    assert never_wins(windows) == ("a",)


@pytest.mark.parametrize("windows", WINS.values(), ids=WINS)
def test_a_window_that_can_win_is_not(windows):
    assert never_wins(windows) == ()
