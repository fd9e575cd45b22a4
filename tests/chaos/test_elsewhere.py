"""The campaign of all kinds sees what is lost or doubled; and one run of it, with a seed of the report's head."""

import os
import random
import shutil
import sqlite3
from copy import copy
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.chaos.elsewhere.errand import Errand, Kind
from tests.chaos.elsewhere.faults import SERVICE, plan
from tests.chaos.elsewhere.lane import KINDS, Lane, fresh, kind_of
from tests.chaos.elsewhere.run import Outcome, engine_of
from tests.chaos.elsewhere.simulated import Story, _submit, _truth


def test_nothing_is_lost_doubled_or_left_in_a_simulated_cloud() -> None:
    seed = len(KINDS) * int(os.environ["FARM_SEEDS"].split(",")[0]) + KINDS.index("simulated")
    with Lane() as lane:
        outcome = lane.run(seed)
    again = f"again: .venv/bin/python -m tests.chaos.elsewhere --seed {seed}"
    assert (outcome.kind, outcome.findings) == ("simulated", []), "\n".join([again, *outcome.faults, *outcome.findings])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One whose work is done and whose machines have gone."""
    made = Story(tmp_path_factory.mktemp("story"), random.Random(7))
    _submit(made.farm, 6)
    while made.farm.open_jobs() or made.farm.alive():
        made.turn()
    made.farm.db.close()
    return made


def found(story: Story, folder: Path, *spoil: str) -> list[str]:
    """What is seen in a copy of its database that was spoilt by these statements."""
    other = copy(story)
    other.database = Path(shutil.copy(story.database, folder))
    db = sqlite3.connect(other.database)
    for one in spoil:
        assert db.execute(one).rowcount > 0
    db.commit()
    db.close()
    return _truth(other, Outcome(1, "simulated", "none", tasks=14))


def test_what_is_right_is_not_complained_of(story: Story, tmp_path: Path) -> None:
    assert found(story, tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("DELETE FROM task WHERE job = 1 AND number = 1", "13 tasks instead of 14"),
        ("UPDATE task SET state = 'failed' WHERE job = 1 AND number = 2", "task 1.2 is failed with 1 accepted"),
        ("UPDATE attempt SET state = 'succeeded' WHERE job = 2", "with 2 accepted results"),
        ("UPDATE task SET outputs = NULL WHERE job = 1 AND number = 1", "task 1.1 has None instead of"),
        ("UPDATE ledger SET cost_nano = cost_nano + 1", "nano"),
    ],
)
def test_what_is_wrong_is_told(story: Story, tmp_path: Path, spoil: str, said: str) -> None:
    assert said in "\n".join(found(story, tmp_path, spoil))


class Logs:
    """As much of a client as an errand needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def log(self, _ref: str) -> SimpleNamespace:
        return SimpleNamespace(data=self._data)


def test_a_log_that_is_not_whole_is_told() -> None:
    kind, errand = Kind(3, 0.1, 5), Errand(random.Random(1))
    whole = kind.log("1.2.1").encode()
    assert whole == b"begin 1.2.1\nline 1\nline 2\nline 3\nend 1.2.1\n"
    assert list(errand._log(Logs(whole), "1.2.1", kind)) == []  # type: ignore[arg-type]
    for broken in (whole[:-1], whole[1:], whole + whole, b""):
        assert len(list(errand._log(Logs(broken), "1.2.1", kind))) == 1  # type: ignore[arg-type]


def test_a_seed_says_all_of_a_run() -> None:
    first, again = (list(map(str, plan(random.Random(5), SERVICE, 24))) for _ in range(2))
    assert first == again
    seeds = fresh(2 * len(KINDS), None)
    assert sorted(map(kind_of, seeds)) == sorted(2 * KINDS)
    assert [engine_of(seed) for seed in fresh(8, "ec2")].count("ray") == 2
    assert {kind_of(seed) for seed in fresh(3, "static")} == {"static"}


def test_a_run_that_can_not_begin_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_words: object) -> None:
        raise OSError("no ground")

    monkeypatch.setattr("tests.chaos.elsewhere.simulated.simulated", fails)
    with Lane() as lane:
        outcome = lane.run(KINDS.index("simulated"))
    assert outcome.findings == ["OSError: no ground"]
