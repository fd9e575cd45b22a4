"""`farm schedule show --at` and `farm schedule plan`, typed against a queue on which nobody works."""

import json
from pathlib import Path

import pytest

from tests.unit.typed import Typed

SETTINGS = """
[pools.local]
ceiling = 2
[pools.cloud]
provider = "simulated"
ceiling = 4
price_per_hour = 0.5
boot = "60s"

[[schedules]]
name = "night"
hours = "20:00-06:00"
pools_allowed = ["local"]
lanes_open = ["interactive", "bulk"]
[schedules.pools.local]
floor = 1

[[schedules]]
name = "late"
hours = "22:00-23:00"
price_cap = 1
[schedules.pools.local]
floor = 2
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "farm.toml").write_text(SETTINGS)
    return tmp_path / "home"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


def test_what_holds_at_a_moment_and_whose_it_is(typed: Typed) -> None:
    found = json.loads(typed("schedule", "show", "--at", "2031-03-01T22:30:00+00:00", "--json"))
    assert found["open"] == ["night", "late"]
    local, cloud = found["now"]["local"], found["now"]["cloud"]
    assert (local["floor"], local["window"], local["shut"]) == (2, "late", "")
    assert local["by"] == {"floor": "late", "pools_allowed": "night", "lanes_open": "night", "price_cap": "late"}
    assert cloud["shut"] == "window night allows local and not pool cloud"
    assert found["lanes"]["default"] == {"open": False, "window": "night", "opens": "2031-03-02T06:00:00.000000+00:00"}
    assert found["monday"] == "2031-02-24"
    told = typed("schedule", "show", "--at", "2031-03-01T22:30:00+00:00")
    assert "cloud: closed: window night allows local and not pool cloud" in told
    assert "lane default is closed by window night, until" in told


def test_what_would_be_decided_then(typed: Typed) -> None:
    typed("submit", "--array", "1-9", "true")
    typed("submit", "--lane", "bulk", "--array", "1-900", "sleep", "9")
    noon = json.loads(typed("schedule", "plan", "--at", "2031-03-01T12:00:00+00:00", "--json"))
    assert (noon["waiting"], noon["open"]) == (909, [])
    assert {a["pool"]: a["kind"] for a in noon["actions"]} == {"local": "launch", "cloud": "launch"}
    night = json.loads(typed("schedule", "plan", "--at", "2031-03-01T21:00:00+00:00", "--json"))
    assert (night["waiting"], night["open"]) == (900, ["night"])
    assert {a["pool"] for a in night["actions"]} == {"local"}
    assert night["pools"]["cloud"]["closed"] == "window night allows local and not pool cloud"
    assert night["unmet"][0]["why"].startswith("pool local is at its ceiling of 2 slots; window night allows local")
    assert night["look_again"] <= "2031-03-01T22:00:00.000000+00:00"
    assert json.loads(typed("executors", "--json")) == {"executors": []}  # it was a question
    told = typed("schedule", "plan", "--at", "2031-03-01T21:00:00+00:00")
    assert "open: night; 900 tasks would wait for a slot in the lanes open then" in told
    assert "order 2 executors of pool local" in told
    assert "job 2 goes on waiting" in told


def test_with_nothing_to_do_it_says_so(typed: Typed) -> None:
    assert "nothing would be ordered, nobody sent away" in typed("schedule", "plan", "--at", "2031-03-01T12:00:00Z")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "--at", "2001-01-01"), "--at: that is past; name a time to come"),
        (("plan", "--at", "soon"), "--at: 'soon' is no time; write 18:00"),
        (("plan", "--at", "2200-01-01"), "that is more than ten years ahead"),
        (("show", "--at", "9990-01-01T00:00:00Z"), "no clock shows the year 9990"),
        (("show", "--at", "25:00"), "'25:00' is no time"),
    ],
)
def test_times_that_make_no_sense_are_refused(typed: Typed, words: tuple[str, ...], said: str) -> None:
    typed("schedule", *words, status=2)
    assert said in typed.err


def test_a_job_that_waits_says_in_show_what_why_says(typed: Typed) -> None:
    typed("submit", "--start-after", "2031-03-01T22:30:00+00:00", "true")
    assert "Job 1 waits for the time: it begins after 22:30:00 UTC on Mar 01." in typed("show", "1")
    assert "begins after 22:30:00 UTC" in typed("why", "1")
    assert "waits" in typed("show", "1.1")
    typed("submit", "true")
    assert "  Job 2 waits because no farm is running." in typed("show", "2")
    typed("submit", "--start-after", "never", "true", status=2)
    assert "--start-after: 'never' is no time" in typed.err
