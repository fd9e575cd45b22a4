"""Slots that the policy may expect back: those that are there, however much waits behind them."""

from dataclasses import dataclass

import pytest

from farm.config import FarmConfig
from farm.db import Database, migrate
from farm.model import Item, StepSpec
from farm.observe import _ROWS, _on_slots, observe
from tests.contract.queue_farm import QueueFarm


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


ONE = {"array": StepSpec(argv=("x",)), "items": StepSpec(items=(Item(name="a", argv=("x",)),))}


@pytest.mark.parametrize("kind", list(ONE))
def test_beyond_what_a_snapshot_carries_are_those_that_are_due_last(tmp_path, kind):
    farm = QueueFarm(Database.file(tmp_path / "farm.db"))
    migrate(farm.db, "farm.db")
    late = [farm.submit(ONE[kind], priority=-1) for _ in range(3)]
    for _ in range(_ROWS - 2):
        farm.submit(ONE[kind])
    urgent = [farm.submit(ONE[kind], priority=1) for _ in range(2)]
    with farm.db.write() as tx:
        (demand,) = observe(tx, FarmConfig(), farm.clock.now()).demand
    who = [int(row.who) for row in demand.waiting]
    assert len(who) == _ROWS
    assert set(who[:2]) == set(urgent)
    assert not set(who) & set(late)
    farm.db.close()
