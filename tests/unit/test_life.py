"""An executor waits long for the first word, however short its lease is, and counts from there."""

from pathlib import Path

import pytest

from executors.site import life
from executors.site.life import FIRST_S, Life, met


def left(one: Life) -> int:
    return round(one.left_s())


class Turned:
    """A clock: time passes when a test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Turned:
    turned = Turned()
    monkeypatch.setattr(life, "time", turned)
    return turned


@pytest.mark.parametrize(("lease_s", "first_s"), [(8.0, FIRST_S), (600.0, 600.0)])
def test_a_start_may_take_longer_than_a_lease(tmp_path: Path, clock: Turned, lease_s: float, first_s: float):
    one = Life(tmp_path, lease_s)
    assert left(one) == first_s
    clock.now += first_s + 1
    assert left(one) == -1


def test_from_the_first_word_on_the_lease_counts_and_no_other_word_makes_it_longer(tmp_path: Path, clock: Turned):
    one = Life(tmp_path, 8.0)
    clock.now += 30
    met(tmp_path)
    clock.now += 3
    assert left(one) == 5
    met(tmp_path)
    assert left(one) == 5


def test_it_is_renewed_and_never_cut(tmp_path: Path, clock: Turned):
    one = Life(tmp_path, 8.0)
    met(tmp_path)
    clock.now += 5
    (tmp_path / "lease").write_text(f"{clock.now + 8:<31}\n")
    assert left(one) == 8
    (tmp_path / "lease").write_text("")
    clock.now += 1
    assert left(one) == 7


def test_what_another_life_has_left_counts_for_nothing(tmp_path: Path, clock: Turned):
    met(tmp_path)
    (tmp_path / "lease").write_text(f"{clock.now + 4000}\n")
    assert left(Life(tmp_path, 8.0)) == FIRST_S
