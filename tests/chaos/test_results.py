"""The record of the runs adds up, and names the seeds that still find something."""

import json
from pathlib import Path

from tests.chaos.results import add


def run(seed: int, *findings: str) -> dict[str, object]:
    faults = ["kill service at 12", "freeze a whole executor 9.1 s at 30", "clock jumps -3600 s at 40"]
    counts = {"attempts": 201, "twice": 1, "refused": 2, "seconds": 1.0}
    return {"seed": seed, "engine": "ray", "terrain": "folder", "faults": faults, "findings": list(findings), **counts}


def test_the_record_grows_and_is_summed_up(tmp_path: Path) -> None:
    file = tmp_path / "results" / "faults.json"
    add(file, [run(1, "a task is lost"), run(2, "a file is left")])
    add(file, [run(1)], {"cores": 2})
    add(file, [])
    record = json.loads(file.read_text())
    assert [one["seed"] for one in record["runs"]] == [1, 2, 1]
    assert record["numbers_s"] == {"cores": 2}
    summary = record["summary"]
    assert (summary["runs"], summary["seeds"], summary["attempts"]) == (3, 2, 603)
    assert (summary["seeds that found something"], summary["of these still"]) == ([1, 2], [2])
    assert summary["killed"] == {"service": 3}
    assert summary["frozen"] == {"a whole executor": 3}
    assert summary["other faults"] == {"clock jumps": 3}


def test_kinds_of_machines_are_counted_where_there_are_some(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    add(file, [run(1) | {"kind": "ec2", "tasks": 20}, run(2, "lost") | {"kind": "ec2", "tasks": 30}])
    summary = json.loads(file.read_text())["summary"]
    assert summary["kinds"] == {"ec2": {"runs": 2, "found something": 1, "seconds": 2.0}}
    assert summary["tasks"] == 50


def test_a_seed_on_another_database_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    other = {"database": "postgresql", "acknowledged": 4}
    add(file, [run(1, "lost"), run(2), run(1, "lost") | other, run(3, "lost") | other, run(1) | other])
    summary = json.loads(file.read_text())["summary"]
    assert (summary["runs"], summary["seeds"]) == (5, 4)
    assert summary["seeds that found something"] == [1, "postgresql:1", "postgresql:3"]
    assert summary["of these still"] == [1, "postgresql:3"]
    assert summary["seeds on"] == {"sqlite": 2, "postgresql": 2}
    assert summary["jobs acknowledged in a fault"] == 8
