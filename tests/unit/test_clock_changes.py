"""Ten years of clock changes in five zones, minute by minute around each, against clocks read by hand."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from schedules.model import Hours, Pool, Window
from schedules.windows import hours, is_open

ZONES = ("Europe/Prague", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca")
"""Winter is summer in the south, half an hour of it on Lord Howe, the day changes at midnight in Santiago, and Ramadan
turns the clocks of Morocco four times a year."""
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
POOL = Pool("local", Decimal(0), 1, 9, 9, MINUTE, MINUTE)
FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


def changes(zone: ZoneInfo) -> list[datetime]:
    """The first minute of each new offset."""
    found, at = [], FIRST
    while at < LAST:
        if (at + DAY).astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset():
            minute = at
            while minute.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset():
                minute += MINUTE
            found.append(minute)
        at += DAY
    return found


def window(name: str, start: time, end: time, zone: str, ceiling: int) -> Window:
    return Window(name, zone, frozenset(range(7)), start, end, {"local": Hours(ceiling=ceiling)})


def windows(zone: str) -> list[Window]:
    """A night, and inside it hours that are skipped or repeated somewhere; the last one wins."""
    spans = [("night", time(22), time(6)), ("early", time(1, 45), time(3, 15)), ("gap", time(2, 5), time(2, 25))]
    spans += [("midnight", time(23, 40), time(0, 20)), ("one", time(0), time(1))]
    return [window(name, start, end, zone, n) for n, (name, start, end) in enumerate(spans, 1)]


def by_hand(at: datetime, zone: ZoneInfo) -> str:
    """Who rules, from nothing but the wall clock."""
    wall = at.astimezone(zone)
    minute = 60 * wall.hour + wall.minute
    found = "night" if minute >= 22 * 60 or minute < 6 * 60 else ""
    found = "early" if 105 <= minute < 195 else found
    found = "gap" if 125 <= minute < 145 else found
    found = "midnight" if minute >= 1420 or minute < 20 else found
    return "one" if minute < 60 else found


@pytest.mark.parametrize("name", ZONES)
def test_each_minute_around_a_change_has_the_rule_that_the_wall_shows(name: str) -> None:
    zone, rules = ZoneInfo(name), windows(name)
    found = changes(zone)
    assert len(found) >= 19
    for change in found:
        at = change - 150 * MINUTE
        while at < change + 150 * MINUTE:
            ruling = [w.name for w in rules if is_open(w, at)]
            assert (ruling[-1] if ruling else "") == by_hand(at, zone), (name, at)
            at += MINUTE


@pytest.mark.parametrize("name", ZONES)
def test_edges_around_a_change_are_the_minutes_at_which_the_rule_changes(name: str) -> None:
    """No edge is missed and none is early: who looks again when told sees every change."""
    zone, rules = ZoneInfo(name), windows(name)
    for change in changes(zone)[::4]:
        at, end, minutes = change - 150 * MINUTE, change + 150 * MINUTE, {}
        while at < end:
            minutes[at] = by_hand(at, zone)
            at += MINUTE
        want = [m for m in list(minutes)[1:] if minutes[m] != minutes[m - MINUTE]]
        at, seen = change - 150 * MINUTE, []
        while (until := hours(POOL, rules, at).until) is not None and until < end:
            if hours(POOL, rules, until).window != hours(POOL, rules, at).window:
                seen.append(until)
            at = until
        assert seen == want, (name, change)


@pytest.mark.parametrize("name", ZONES)
def test_a_whole_day_is_as_long_as_the_clocks_make_it(name: str) -> None:
    zone = ZoneInfo(name)
    rule = window("day", time(0), time(0), name, 1)
    for change in changes(zone):
        day = change.astimezone(zone).date()
        one = Window("day", name, frozenset({day.weekday()}), time(0), time(0), rule.pools)
        at, length = change - DAY, timedelta()
        while at < change + DAY:
            length += 10 * MINUTE if is_open(one, at) else timedelta()
            at += 10 * MINUTE
        before, after = (edge.astimezone(zone).utcoffset() for edge in (change - MINUTE, change))
        assert length == DAY - (after - before), (name, change)
