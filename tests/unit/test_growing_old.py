"""The benchmark of a farm that grows old lays down its days, forgets what is old, and finds the books in order."""

import json
from pathlib import Path

import pytest

from benchmarks import growing_old


def test_days_are_laid_down_and_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "old.json"
    growing_old.main(["--scale", "0.0004", "--days", "4", "--keep", "2", "--results", str(results)])
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(results.read_text())
    assert [day["tasks"] for day in told["days"]] == [200] * 4
    assert [day["forgotten_tasks"] for day in told["days"]] == [0, 0, 0, 300]  # a hundred were to warm up
    assert all(day["claim_ms"] > 0 and day["database_mib"] + day["wal_after_mib"] > 0 for day in told["days"])
    assert max(day["wal_most_mib"] for day in told["days"]) < 16
    assert told["books"] == []
