"""The cluster of the tests is up while somebody is inside, and hides nothing that goes wrong there."""

import fcntl

import pytest

from tests.machines import kubernetes_cluster
from tools.kubernetes import place


@pytest.fixture
def typed(tmp_path, monkeypatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(place, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(kubernetes_cluster, "_tool", found.append)
    return found


def test_who_leaves_last_ends_it(typed):
    with pytest.raises(ZeroDivisionError), kubernetes_cluster.cluster():
        assert 1 / 0
    assert typed == ["up", "down"]


def test_while_others_are_inside_it_stays_and_errors_are_seen(typed, tmp_path):
    with open(tmp_path / "users", "w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(ZeroDivisionError), kubernetes_cluster.cluster():
            assert 1 / 0
    assert typed == ["up"]
