"""Slots that the policy may expect back: those that are there, however much waits behind them."""

from dataclasses import dataclass

from farm.observe import _on_slots


@dataclass
class Row:
    executor: str
    attempts: int = 1
    slots: int = 1
    started: int | None = None
    claimed: int = 0


def on_slots(*rows, **slots):
    return list(_on_slots(rows, slots))


def test_short_tasks_behind_a_slot_are_no_slots_of_their_own():
    many = Row("e1", attempts=200)
    assert on_slots(many, e1=2) == [many, many]


def test_what_has_started_holds_the_slot():
    behind, running = Row("e1", attempts=5, claimed=1), Row("e1", started=9)
    assert on_slots(behind, running, e1=1) == [running]


def test_large_tasks_hold_several():
    large, small = Row("e1", slots=3, started=1), Row("e1", attempts=4, started=2)
    assert on_slots(large, small, e1=4) == [large, small]


def test_an_executor_that_is_gone_brings_nothing_back():
    assert on_slots(Row("gone"), e1=1) == []
