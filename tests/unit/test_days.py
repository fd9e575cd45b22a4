"""Days as people list them: dates, spans, days of every year, calendar files; and what is refused, with its line."""

from datetime import date
from pathlib import Path

import pytest

from farm.calendar_file import MOST, BadCalendar, read_calendar
from farm.config import BadConfig, load
from farm.days import read_days

EVENT = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nSUMMARY:Feast\r\n{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


@pytest.fixture
def calendar(tmp_path: Path):
    """The days of a calendar with one event that says this."""

    def read(said: str) -> list[str]:
        path = tmp_path / "days.ics"
        path.write_text(EVENT.format(said.replace("\n", "\r\n")), newline="")
        return sorted(day.isoformat() for day in read_calendar(path))

    return read


def test_days_are_dates_spans_and_days_of_every_year():
    found = read_days(["2026-05-01", "2026-12-30..2027-01-02", "12-25", date(2026, 7, 5)])
    assert {"2026-05-01", "2026-12-31", "2027-01-02", "2026-07-05"} <= found.days
    assert {d for d in found.days if d.endswith("-12-25")} == {f"{year}-12-25" for year in range(2000, 2100)}
    assert found.said == ("2026-05-01", "2026-12-30..2027-01-02", "12-25", "2026-07-05")


def test_one_day_needs_no_list_and_leap_days_are_in_leap_years():
    assert read_days("2026-05-01").days == {"2026-05-01"}
    assert len(read_days("02-29").days) == 25


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("25.12.2026", "'25.12.2026' is no day; write 2026-12-25"),
        ("2026-02-30", "'2026-02-30' is no day"),
        ("20261225", "is no day"),
        ("2026-W01-1", "is no day"),
        ("13-01", "is no day of any year"),
        ("02-30", "is no day of any year"),
        ("2027-01-02..2026-12-30", "ends before it begins"),
        ("2000-01-01..2099-01-01", "too many days"),
        ([["2026-01-01"]], "is no day"),
        ({"a": 1}, "are no dates"),
        (7, "are no dates"),
        ("nowhere.ics", "can't be read: No such file or directory; name a file below the home"),
    ],
)
def test_what_is_no_day_is_refused(said, words):
    with pytest.raises(ValueError) as caught:
        read_days(said)
    assert words in str(caught.value)


def test_the_name_of_a_calendar_is_looked_for_beside_farm_toml(tmp_path):
    (tmp_path / "a.ICS").write_text(EVENT.format("DTSTART;VALUE=DATE:20260501"))
    assert read_days(["a.ICS"], tmp_path).days == {"2026-05-01"}


def test_events_are_whole_days(calendar):
    assert calendar("DTSTART;VALUE=DATE:20261225") == ["2026-12-25"]
    assert calendar("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227") == ["2026-12-25", "2026-12-26"]
    assert calendar("DTSTART:20261231\nDURATION:P2D") == ["2026-12-31", "2027-01-01"]
    assert calendar('DTSTART;TZID="Europe/Prague":20261225T000000\nDTEND:20261226T000000') == ["2026-12-25"]
    assert calendar("DTSTART:20261225\nDTEND:20261225") == ["2026-12-25"]  # some programs write it so


def test_events_come_again_by_their_rule(calendar):
    found = calendar("DTSTART:20200101\nRRULE:FREQ=YEARLY")
    assert (len(found), found[0], found[-1]) == (80, "2020-01-01", "2099-01-01")
    fourth = "DTSTART:20261126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=3"
    assert calendar(fourth) == ["2026-11-26", "2027-11-25", "2028-11-23"]
    until = "DTSTART:20260101\nRRULE:FREQ=MONTHLY;UNTIL=20260401T000000Z\nEXDATE;VALUE=DATE:20260201\nRDATE:20260215"
    assert calendar(until) == ["2026-01-01", "2026-02-15", "2026-03-01", "2026-04-01"]
    assert len(calendar("DTSTART:20990101\nRRULE:FREQ=DAILY")) == 365


def test_long_lines_go_on_and_what_was_cancelled_is_none(calendar):
    assert calendar("DESCRIPTION:a\n b;c:d\nDTSTART;VALUE=\n DATE:20261225") == ["2026-12-25"]
    assert calendar("DTSTART:20261225\nSTATUS:CANCELLED") == []
    assert calendar("DTSTART:20261225\nBEGIN:VALARM\nTRIGGER:-P1D\nDTSTART:nonsense\nEND:VALARM") == ["2026-12-25"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("DTSTART:20261225T140000", "line 5: the event 'Feast' begins or ends at 14:00; holidays are whole days"),
        ("DTSTART:20261325", "line 5: '20261325' is no date"),
        ("DTSTART:tomorrow", "line 5: 'tomorrow' is no date; write it like 20261225"),
        ("LOCATION:here", "line 3: the event 'Feast' has no DTSTART"),
        ("DTSTART:20261225\nRRULE:FREQ=HOURLY", "line 6: the event 'Feast' repeats by 'FREQ=HOURLY'; only FREQ=YEARLY"),
        ("DTSTART:20261225\nRRULE:FREQ=YEARLY;BYMOON=1", "line 6: the rule 'FREQ=YEARLY;BYMOON=1'"),
        ("DTSTART:20261225\nRRULE:FREQ=YEARLY;INTERVAL=0", "line 6: the rule 'FREQ=YEARLY;INTERVAL=0'"),
        ("DTSTART:20261225\nRRULE:FREQ=DAILY;INTERVAL=-1", "line 6: the rule 'FREQ=DAILY;INTERVAL=-1'"),
        ("DTSTART:20261225\nRRULE:nonsense", "line 6: the event 'Feast' repeats by 'NONSENSE'"),
        ("DTSTART:20261225\nEXRULE:FREQ=YEARLY", "line 6: the event 'Feast' has EXRULE, which is not understood"),
        ("DTSTART:20261225\nRECURRENCE-ID:20251225", "line 6: the event 'Feast' has RECURRENCE-ID"),
        ("DTSTART:20261225\nDTEND:20261220", "line 6: the event 'Feast' ends before it begins"),
        ("DTSTART:20261225\nDURATION:PT4H", "line 6: 'PT4H' are no whole days"),
        ("DTSTART:20261225\nno property", "line 6: 'no property' is no line of an iCalendar file"),
        ("END:VTODO", "line 5: END:VTODO ends nothing"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(calendar, said, words):
    with pytest.raises(BadCalendar) as caught:
        calendar(said)
    assert str(caught.value).startswith("days.ics line ")
    assert words in str(caught.value)
    assert "; " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 0: it is empty"),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "line 2: it ends inside of VEVENT"),
        (b"<html>", "line 1: '<html>' is no line"),
        (b"\xff\xfe", "it is no text in UTF-8"),
        (b"x" * (4 << 20) + b"y", "larger than 4 MiB"),
    ],
)
def test_what_is_no_calendar_is_refused(tmp_path, content, words):
    (tmp_path / "x.ics").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_days("x.ics", tmp_path)
    assert words in str(caught.value)


def test_an_event_of_a_million_days_is_cut_short(calendar):
    assert len(calendar("DTSTART:00010101\nDTEND:99991231")) == MOST


def test_no_event_goes_on_beyond_the_last_day_of_all(calendar):
    assert calendar("DTSTART:99991230\nDURATION:P7D") == ["9999-12-30", "9999-12-31"]


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_ends_of_time_are_days_on_which_no_window_opens(tmp_path, day):
    (tmp_path / "farm.toml").write_text(f'[[schedules]]\nname = "once"\ndates = ["{day}"]\nprice_cap = 1\n')
    with pytest.raises(BadConfig, match="the window 'once' never opens"):
        load(tmp_path / "farm.toml")
