"""What commands say about a queue on which nobody works."""

import csv
import json
import sqlite3
from pathlib import Path

import pytest

from tests.unit.typed import Typed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


def test_every_task_of_a_long_array_can_be_listed(typed: Typed) -> None:
    typed("submit", "--array", "1-450", "true")
    assert "1.200" in typed("show", "1")
    assert typed.err == "and 250 more; go on with `farm show 1 --offset 200`\n"
    shown = typed("show", "1", "--state", "ready", "--offset", "400", "--limit", "40")
    assert ("1.401" in shown, "1.440" in shown, "1.441" in shown) == (True, True, False)
    assert typed.err == "and 10 more; go on with `farm show 1 --state ready --offset 440`\n"
    assert "1.450" in typed("show", "1", "--offset", "400")
    assert typed.err == ""


def test_tasks_of_a_cancelled_array_are_cancelled(typed: Typed) -> None:
    typed("submit", "--array", "1-2000", "true")
    typed("cancel", "1")
    listed = json.loads(typed("show", "1", "--state", "cancelled", "--limit", "2000", "--json"))["listed"]
    assert [task["ref"] for task in listed] == [f"1.{n}" for n in range(1, 2001)]
    assert json.loads(typed("show", "1.1501", "--json"))["state"] == "cancelled"
    assert "Task 1.1501 is cancelled" in typed("why", "1.1501")


def test_one_task_that_was_not_handed_out_is_cancelled_by_itself(typed: Typed) -> None:
    typed("submit", "--array", "1-3", "true")
    assert typed("cancel", "1.2") == "1.2: 1 task cancelled\n"
    listed = json.loads(typed("show", "1", "--json"))["listed"]
    assert [(task["ref"], task["state"]) for task in listed] == [
        ("1.2", "cancelled"),
        ("1.1", "ready"),
        ("1.3", "ready"),
    ]
    typed("cancel", "1.2", status=2)
    assert "task 1.2 is cancelled already" in typed.err
    typed("cancel", "1.4", status=2)
    assert "job 1 has no task 4" in typed.err


def test_the_status_counts_jobs(typed: Typed) -> None:
    typed("submit", "--array", "1-3", "true")
    assert "jobs       1 queued, 0 running" in typed("status")


@pytest.mark.parametrize("report", ["cost", "usage"])
def test_one_form_of_a_report_at_a_time(typed: Typed, report: str) -> None:
    typed("report", report, "--csv", "--json", status=2)
    assert "--csv and --json" in typed.err


@pytest.mark.parametrize(
    "words", [["jobs"], ["status"], ["show", "1"], ["why", "1"], ["report", "cost"], ["cancel", "1"]]
)
def test_a_mistyped_home_is_not_made(typed: Typed, words: list[str], tmp_path: Path) -> None:
    typed(*words, "--home", str(tmp_path / "nope" / "deep"), status=3)
    assert "there is no farm here" in typed.err
    assert "`farm submit`" in typed.err
    assert not (tmp_path / "nope").exists()


@pytest.mark.parametrize(("day", "year"), [("0001-01-01", "1"), ("1899-12-31", "1899"), ("9900-01-01", "9900")])
def test_a_week_that_cannot_be_drawn_is_refused(typed: Typed, day: str, year: str) -> None:
    typed("schedule", "show", "--week", day, status=2)
    assert f"no week of the year {year} can be drawn" in typed.err


@pytest.mark.parametrize("frames", ["1-3", "8-12", "1-20", "5,10"])
def test_frames_outside_of_the_whole_film_are_refused(typed: Typed, tmp_path: Path, frames: str) -> None:
    (tmp_path / "scene.pov").write_text("sphere { 0, 1 }")
    typed("render", "scene.pov", "--frames", frames, "--of", "5-9", status=2)
    assert "outside of the whole film, 5-9" in typed.err


@pytest.mark.parametrize(
    ("by", "keys"),
    [("job", ["1 true", "2 true", "3 true", "10", "(nobody)"]), ("owner", ["ada", "bob", "cyd", "(nobody)"])],
)
@pytest.mark.parametrize("report", ["cost", "usage"])
def test_a_report_is_in_the_order_of_its_key(typed: Typed, home: Path, by: str, keys: list[str], report: str) -> None:
    for _ in range(3):
        typed("submit", "true")
    rows = [("boot", 10, "bob"), ("boot", 3, "cyd"), ("boot", None, ""), ("busy", 2, "bob"), ("idle", 1, "ada")]
    books = sqlite3.connect(home / "farm.db")
    for kind, job, owner in rows:
        books.execute(
            "INSERT INTO ledger (executor, pool, project, since, until, micros, price_nano, cost_nano, kind, job,"
            " owner) VALUES ('e', 'p', '', 0, 1, 1, 1, 1, ?, ?, ?)",
            (kind, job, owner),
        )
    books.commit()
    books.close()
    words = ("report", report, "--by", by)
    assert [row["key"] for row in json.loads(typed(*words, "--json"))["rows"]] == keys
    assert [row["key"] for row in csv.DictReader(typed(*words, "--csv").splitlines())] == keys


def test_the_advice_for_a_job_that_has_ended_can_be_followed(typed: Typed, home: Path) -> None:
    typed("submit", "true")
    typed("cancel", "1")
    with sqlite3.connect(home / "farm.db") as books:
        books.execute("UPDATE job SET total = 2")
    books.close()
    assert "`farm cancel 1` unless it has ended, and submit it again" in typed("database", "check", status=3)


@pytest.mark.parametrize("since", ["1000000000", "1e9", "1.79e-263", "-1.5E+3"])
def test_a_bare_number_is_no_time(typed: Typed, since: str) -> None:
    typed("submit", "true")
    typed("report", "cost", "--since", since, status=2)
    assert "is no time" in typed.err
