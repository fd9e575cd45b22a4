"""Who follows bears that the farm is away, for as long as was said and no longer."""

import pytest

from farm.patience import Away, Patience, following_s
from farm.refusal import Refusal


class Flaky:
    """Fails so often before it answers."""

    def __init__(self, failures: int, lasting: bool = False) -> None:
        self.left, self.lasting = failures, lasting

    def __call__(self) -> str:
        self.left -= 1
        if self.left < 0:
            return "answer"
        error = Away("the farm went away")
        error.lasting = self.lasting
        raise error


def test_it_is_said_once_that_it_is_away_and_once_that_it_is_back():
    said = []
    patience = Patience(60, said.append)
    assert [patience.endure(Flaky(3)), patience.endure(Flaky(0))] == ["answer", "answer"]
    assert said == ["the farm went away; trying again for 1 min", "the farm answers again"]


def test_without_patience_and_where_it_is_of_no_use_nothing_is_tried_again():
    for patience, act in ((Patience(0), Flaky(1)), (Patience(60), Flaky(1, lasting=True))):
        with pytest.raises(Away):
            patience.endure(act)
        assert act.left == 0


def test_it_ends():
    act = Flaky(10**9)
    with pytest.raises(Away):
        Patience(0.3).endure(act)
    assert 10**9 - act.left >= 2


def test_other_refusals_are_not_borne():
    def act() -> None:
        raise Refusal("no such job")

    with pytest.raises(Refusal, match="no such job"):
        Patience(60).endure(act)


def test_how_long_is_said_in_the_environment(monkeypatch):
    monkeypatch.delenv("FARM_PATIENCE", raising=False)
    assert following_s() == 300
    monkeypatch.setenv("FARM_PATIENCE", "1h")
    assert following_s() == 3600
    monkeypatch.setenv("FARM_PATIENCE", "soon")
    with pytest.raises(Refusal, match="FARM_PATIENCE"):
        following_s()
