"""`farm hold`, `release`, `set`, `drain`, `stop-spending`, `acts`, typed against a queue on which nobody works."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from farm.cli.deadline import deadline
from farm.refusal import Refusal
from tests.unit.typed import Typed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "farm.toml").write_text('[pools.ec2]\nprice_per_hour = "0.5"\n[pools.local]\n')
    return tmp_path / "home"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


def test_hold_and_release(typed: Typed) -> None:
    typed("submit", "--array", "1-3", "true")
    assert typed("hold", "1", "--why", "wrong scene") == "job 1 is held\n"
    assert "held" in typed("jobs")
    assert "wrong scene" in typed("why", "1.2")
    typed("hold", "1", status=2)
    assert "job 1 is held already" in typed.err
    assert typed("hold", "bulk") == "lane bulk is held\n"
    assert typed("hold", "ec2") == "pool ec2 is held\n"
    assert "pool ec2 is held by " in typed("pools")
    assert "is held by" in typed("why", "pool", "ec2")
    assert typed("release", "lane:bulk") == "lane bulk is released\n"
    assert json.loads(typed("status", "--json"))["held"] == ["pool ec2"]
    assert "held       pool ec2" in typed("status")
    assert json.loads(typed("release", "1", "--json")) == {"kind": "job", "name": "1", "held": False, "running": 0}
    listed = typed("acts")
    assert [line.split()[4:6] for line in listed.splitlines()[-5:]] == [
        ["release", "job"],
        ["release", "lane"],
        ["hold", "pool"],
        ["hold", "lane"],
        ["hold", "job"],
    ]
    assert listed.startswith("pool ec2 is held by ")
    assert len(json.loads(typed("acts", "1", "--json"))["acts"]) == 2


def test_submit_held(typed: Typed) -> None:
    typed("submit", "--hold", "true")
    assert json.loads(typed("show", "1", "--json"))["state"] == "held"
    assert "submitted so" in typed("why", "1")
    typed("submit", "--hold", "--wait", "true", status=2)
    assert "a held job does not begin by itself" in typed.err


def test_set(typed: Typed) -> None:
    typed("submit", "true")
    assert typed("set", "1", "--priority", "7", "--lane", "bulk") == (
        "job 1: priority 7 instead of 0\njob 1: lane bulk instead of default\n"
    )
    made = json.loads(typed("set", "1", "--deadline", "+2h", "--json"))
    assert made["changed"]["deadline"][0] is None
    assert "instead of none" not in typed("set", "1", "--deadline", "none")
    typed("set", "1", status=2)
    assert "nothing is to be set" in typed.err
    typed("set", "1", "--lane", "bulkk", status=2)
    assert "did you mean 'bulk'" in typed.err
    typed("set", "x", "--priority", "7", status=2)
    typed("set", "1", "--deadline", "soon", status=2)
    assert "'soon' is no time" in typed.err


def test_spending(typed: Typed) -> None:
    assert typed("stop-spending", "--why", "broke") == (
        "nothing more is spent by ec2; running tasks go on to their end\n"
    )
    assert typed("acts").startswith("spending is stopped by ")
    typed("stop-spending", status=2)
    assert "spending is stopped by" in typed.err
    assert typed("resume-spending") == "pools that cost money may order executors again\n"
    typed("resume-spending", status=2)
    assert "spending was not stopped" in typed.err


def test_what_is_not_there_is_told(typed: Typed) -> None:
    typed("submit", "true")
    for words in (("hold", "nowhere"), ("drain", "e1"), ("release", "1"), ("hold", ""), ("drain", ""), ("hold", "17")):
        typed(*words, status=2)
        assert typed.err.startswith("farm: ")
        assert "; " in typed.err or ":" in typed.err[6:]
    assert typed("acts") == ""
    assert typed.err == "nothing was held, set or stopped\n"


def test_a_reason_with_control_characters_is_refused(typed: Typed) -> None:
    typed("submit", "true")
    typed("hold", "1", "--why", "a\x1b[2Jb", status=2)
    assert typed("acts") == ""


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("18:00", NOON + timedelta(hours=6)),
        ("9:00", NOON + timedelta(hours=21)),
        ("+90m", NOON + timedelta(minutes=90)),
        ("2026-03-02T08:00:00+01:00", datetime(2026, 3, 2, 7, tzinfo=UTC)),
    ],
)
def test_deadlines_as_people_write_them(text: str, when: datetime) -> None:
    assert datetime.fromisoformat(deadline(text, NOON)) == when


@pytest.mark.parametrize("text", ["", "tomorrow", "+", "+2x", "25:00", "2026-13-01", "+99999999d"])
def test_what_is_no_deadline(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        deadline(text, NOON)
    assert caught.value.remedy == "write 18:00, '2026-03-01 18:00', +2h, or none"
