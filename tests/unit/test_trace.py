"""A recorded day as it is read: what is wrong with one is said with its line."""

import pytest

from farm.refusal import Refusal
from farm.simulate.trace import SECOND, read

HEAD = "arrival,duration,name,source,cls\n"


@pytest.fixture
def trace(tmp_path):
    def written(text):
        path = tmp_path / "day.csv"
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        return path

    return written


def test_jobs_come_in_microseconds_and_columns_in_any_order(trace):
    found = read(trace("cls,source,name,duration,arrival\nbuild,bot,curl,2.5,10\nbulk,eva,film,0,10.25\n"))
    assert found[0] == (0, 10 * SECOND, 2_500_000, "curl", "bot", "build")
    assert found[1].arrival == 10_250_000
    assert found[1].duration == 1000  # nothing takes no time


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", "line 1", "no column 'arrival'"),
        ("arrival,duration,name,source\n1,2,a,b\n", "line 1", "no column 'cls'"),
        (HEAD, "day.csv", "no jobs"),
        (HEAD + "1,2,a,b,c\n2,-3,a,b,c\n", "line 3", "duration -3 is negative"),
        (HEAD + "5,2,a,b,c\n4,2,a,b,c\n", "line 3", "time runs backwards"),
        (HEAD + "x,2,a,b,c\n", "line 2", "arrival is 'x'"),
        (HEAD + "1,nan,a,b,c\n", "line 2", "duration is 'nan'"),
        (HEAD + "1\n", "line 2", "duration is ''"),
        (HEAD + "-1,2,a,b,c\n", "line 2", "is no time"),
        (HEAD + "1,1e99,a,b,c\n", "line 2", "longer than a year"),
        (b"\xff\xfe", "day.csv", "not UTF-8"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(trace, text, line, what):
    with pytest.raises(Refusal) as told:
        read(trace(text))
    assert what in told.value.what
    assert line in told.value.where


def test_a_trace_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refusal, match="can't be read"):
        read(tmp_path / "nothing.csv")


def test_more_than_a_million_jobs_are_refused(trace, monkeypatch):
    monkeypatch.setattr("farm.simulate.trace.MOST_JOBS", 3)
    assert len(read(trace(HEAD + "1,1,a,b,c\n" * 3))) == 3
    with pytest.raises(Refusal, match="more than 3 jobs"):
        read(trace(HEAD + "1,1,a,b,c\n" * 4))
