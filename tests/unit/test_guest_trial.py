"""What a template does before it is frozen."""

from typing import Any

import pytest

from executors.contract import Event, EventKind
from executors.packed import Events
from executors.vmclone import guest
from executors.vmclone.far_store import FarStore


class NudgedAgent:
    """Every other answer is empty, as when somebody has nudged it."""

    def __init__(self, *_made_of: Any) -> None:
        self.asked = self.told = 0

    def submit(self, works: Any) -> None:
        self.works = works

    def poll(self, after: int, _acknowledged: int, _lease_s: float, _wait_s: float) -> Events:
        self.asked += 1
        if self.asked % 2 or self.told == len(self.works):
            return Events.of([])
        assert after == self.told
        self.told += 1
        return Events.of([Event(self.told, EventKind.FINISHED, self.works[self.told - 1].attempt, 1, exit=0)])

    def stop(self, _grace_s: float) -> None: ...

    def close(self) -> None: ...


def test_an_empty_answer_is_no_end_of_its_patience(monkeypatch, tmp_path):
    monkeypatch.setattr(guest, "Agent", NudgedAgent)
    guest._try_out(2, "", FarStore(tmp_path, lambda: None))


def test_its_patience_ends(monkeypatch, tmp_path):
    monkeypatch.setattr(guest, "Agent", NudgedAgent)
    monkeypatch.setattr(guest, "WARM_S", 0)
    with pytest.raises(RuntimeError, match="has not ended within 0 s"):
        guest._try_out(1, "", FarStore(tmp_path, lambda: None))
