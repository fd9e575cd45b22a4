"""The wheel's threads: a farm may go down while it still comes up."""

import threading
from types import SimpleNamespace

import pytest

from farm.wheel import Wheel

DB = SimpleNamespace(sqlite=False, where="a server")


def test_it_can_be_stopped_while_the_first_listing_is_under_way():
    asked, answer = threading.Event(), threading.Event()

    def slow(_pool: str) -> None:
        asked.set()
        assert answer.wait(60)

    wheel = Wheel(SimpleNamespace(db=DB, providers={"slow": None}, list_machines=slow))
    starting = threading.Thread(target=wheel.start)
    starting.start()
    assert asked.wait(60)
    stopping = threading.Thread(target=wheel.stop)
    stopping.start()
    assert wheel._closed.wait(60)
    answer.set()
    stopping.join(60)
    starting.join(60)
    for thread in (*wheel._threads, *wheel._listings):
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

    fleet = SimpleNamespace(db=DB, providers={"hangs": None, "answers": None}, list_machines=listed)
    wheel = Wheel(fleet)
    wheel.start()
    try:
        assert asked.wait(60)
    finally:
        answer.set()
        wheel.stop()


def test_the_first_listings_are_taken_side_by_side_and_a_dead_provider_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("farm.wheel.FIRST_S", 0.2)
    others, answer = threading.Barrier(2), threading.Event()
    seen: set[str] = set()

    def listed(pool: str) -> None:
        if pool == "dead":
            assert answer.wait(60)
        elif pool not in seen:
            seen.add(pool)
            others.wait(60)  # each of them waits for the other

    wheel = Wheel(SimpleNamespace(db=DB, providers={"dead": None, "a": None, "b": None}, list_machines=listed))
    starting = threading.Thread(target=wheel.start)
    starting.start()
    starting.join(60)
    try:
        assert not starting.is_alive()
        assert not others.broken
    finally:
        answer.set()
        wheel.stop()
