"""The week as a chart: on the clocks of a zone, overnight windows and hours that are skipped or repeated included."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from farm import timetable
from farm.cli.schedule import chart
from farm.config import FarmConfig
from farm.db import Database, migrate
from schedules.model import Pool
from schedules.windows import hours, midnight, week

NIGHT = {
    "name": "night",
    "zone": "Europe/Berlin",
    "hours": "19:00-07:00",
    "pools": {"local": {"ceiling": 8, "floor": 2}},
}
NOON = {
    "name": "lunch",
    "zone": "Europe/Berlin",
    "days": "mon-fri",
    "hours": "12:00-13:30",
    "pools": {"local": {"ceiling": 1}},
}


@pytest.fixture
def draw(tmp_path):
    """The lines of the chart of a week."""
    db = Database.file(tmp_path / "farm.db")
    migrate(db, "farm.db")

    def made(day, *windows):
        config = FarmConfig.model_validate({"pools": {"local": {"ceiling": 4}}, "schedules": windows})
        with db.write() as tx:
            found = timetable.schedule(tx, config, datetime(2026, 1, 7, 12, tzinfo=UTC), day)
        return chart("local", found["zone"], date.fromisoformat(found["monday"]), found["week"]["local"])

    yield made
    db.close()


def rows(lines):
    """Day → its 48 cells."""
    return {line[:10]: line[12:].ljust(48) for line in lines[2:9]}


def test_a_week_has_seven_rows_of_half_hours_and_a_legend(draw):
    lines = draw(None, NIGHT, NOON)
    assert lines[0] == "pool local, week of Mon Jan 05 2026, clocks of Europe/Berlin"
    assert lines[1].split() == ["0", "3", "6", "9", "12", "15", "18", "21"]
    found = rows(lines)
    assert found["Mon Jan 05"] == "A" * 14 + "B" * 10 + "C" * 3 + "B" * 11 + "A" * 10
    assert found["Sat Jan 10"] == "A" * 14 + "B" * 24 + "A" * 10
    legend = [line.split() for line in lines[9 : lines.index("", 9)]]
    assert legend == [
        ["floor", "ceiling", "idle", "price/h", "window"],
        ["A", "2", "8", "-", "0", "night"],
        ["B", "0", "4", "-", "0", "-", "(the", "pool's", "own)"],
        ["C", "0", "1", "-", "0", "lunch"],
    ]


def test_beside_the_chart_stands_who_rules_to_the_minute(draw):
    early = {**NOON, "name": "early", "hours": "05:50-06:10", "pools": {"local": {"ceiling": 3}}}
    lines = draw(None, NIGHT, NOON, early)
    told = lines[lines.index("") + 1 :]
    assert told[0].split("  ")[0] == "Mon-Fri"
    assert "05:50 early   06:10 night   07:00 -   12:00 lunch   13:30 -   19:00 night" in told[0]
    assert told[1].split() == ["Sat-Sun", "00:00", "night", "07:00", "-", "19:00", "night"]


def test_hours_of_a_shadowed_window_are_small_letters(draw):
    over = {"name": "siesta", "zone": "Europe/Berlin", "hours": "12:00-14:00", "pools": {"local": {"ceiling": 3}}}
    lines = draw(None, NOON, {**over, "days": "mon"})
    found = rows(lines)
    assert found["Mon Jan 05"][24:28] == "bbbB"  # lunch ends at half past one
    assert found["Tue Jan 06"][24:27] == "CCC"
    assert "lunch is shadowed for 1 h 30 min of this week, first on Mon 12:00" in lines
    assert any("12:00 siesta over lunch   13:30 siesta   14:00 -" in line for line in lines)


def test_settings_of_several_windows_are_told_with_their_own(draw):
    day = {"name": "day", "hours": "08:00-20:00", "pools": {"local": {"floor": 1, "idle_target": 2, "ceiling": 4}}}
    rest = {"name": "rest", "hours": "12:00-13:00", "pools": {"local": {"ceiling": 3}}}
    shut = {"name": "off", "hours": "22:00-23:00", "pools_allowed": [], "lanes_open": ["interactive"]}
    lines = "\n".join(draw(None, day, rest, shut))
    assert "rest (floor: day, idle_target: day)" in lines
    assert "off; closed: window off allows no pool and not pool local" in lines
    assert "interactive" in lines
    assert "idle target" in lines


def test_an_hour_that_is_skipped_is_left_out(draw):
    lines = draw(date(2026, 3, 29), NIGHT)
    found = rows(lines)
    assert found["Sun Mar 29"] == "AAAA  " + "A" * 8 + "B" * 24 + "A" * 10
    assert found["Sat Mar 28"] == "A" * 14 + "B" * 24 + "A" * 10
    assert "Sun Mar 29  02:00 to 03:00 does not happen: the clocks go forward" in lines


def test_an_hour_that_is_repeated_is_told(draw):
    lines = draw(date(2026, 10, 25), NIGHT)
    assert rows(lines)["Sun Oct 25"] == "A" * 14 + "B" * 24 + "A" * 10
    assert "Sun Oct 25  02:00 to 03:00 happens twice: the clocks go back" in lines


def test_half_an_hour_of_summer_time_is_half_an_hour(draw):
    lines = draw(date(2026, 10, 4), {**NIGHT, "zone": "Australia/Lord_Howe"})
    assert rows(lines)["Sun Oct 04"].startswith("AAAA A")
    assert "Sun Oct 04  02:00 to 02:30 does not happen: the clocks go forward" in lines


def test_a_window_of_another_zone_is_drawn_on_the_clocks_of_the_first(draw):
    lines = draw(None, NOON, {**NIGHT, "zone": "America/New_York", "hours": "00:00-01:00", "days": "tue"})
    assert rows(lines)["Tue Jan 06"][12:14] == "CC"  # 6:00 in Berlin


@pytest.mark.parametrize("day", [date.min, date.max])
def test_the_ends_of_time_are_weeks_too(draw, day):
    assert len(rows(draw(day, NIGHT, NOON))) == 7


def test_without_windows_one_letter_fills_the_week(draw):
    lines = draw(None)
    assert set("".join(rows(lines).values())) == {"A"}
    assert lines[0].endswith("clocks of UTC")


@pytest.mark.parametrize("monday", [date(2026, 3, 23), date(2026, 10, 19), date(2026, 7, 6)])
def test_a_week_is_cut_where_something_changes_and_nowhere_else(monday):
    config = FarmConfig.model_validate({"pools": {"local": {"ceiling": 4}}, "schedules": [NIGHT, NOON]})
    pool = Pool("local", config.pools["local"].price_per_hour, 1, 4, 4, timedelta(), timedelta())
    start, end = midnight("Europe/Berlin", monday), midnight("Europe/Berlin", monday + timedelta(days=7))
    found = week(config.windows(), pool, start, end)
    assert (found[0].start, found[-1].end) == (start, end)
    for before, after in pairwise(found):
        assert before.end == after.start
        assert (before.hours.window, before.hours.ceiling) != (after.hours.window, after.hours.ceiling)
    at = start
    while at < end:
        segment = next(s for s in found if s.start <= at < s.end)
        assert segment.hours.ceiling == hours(pool, config.windows(), at).ceiling
        at += timedelta(minutes=15)
