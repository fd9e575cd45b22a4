"""The wheel's threads: a farm may go down while it still comes up."""

import threading
from types import SimpleNamespace

import pytest

from farm.wheel import Wheel


def test_it_can_be_stopped_while_the_first_listing_is_under_way():
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert answer.wait(60)

    wheel = Wheel(SimpleNamespace(providers={}, list_machines=slow))
    starting = threading.Thread(target=wheel.start)
    starting.start()
    assert asked.wait(60)
    wheel.stop()
    answer.set()
    starting.join(60)
    for thread in wheel._threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_provider_that_hangs_holds_up_no_other_listing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("farm.wheel.EVERY_S", 0.1)
    asked, answer = threading.Event(), threading.Event()
    seen: list[str] = []

    def listed(*pools: str) -> None:
        for pool in pools:
            seen.append(pool)
            if pool == "hangs":
                assert answer.wait(60)
            elif "hangs" in seen:
                asked.set()

    fleet = SimpleNamespace(providers={"hangs": None, "answers": None}, list_machines=listed)
    wheel = Wheel(fleet)
    wheel.start()
    try:
        assert asked.wait(60)
    finally:
        answer.set()
        wheel.stop()
