"""Slots that are kept for a wide task are none for others: the policy orders in their place."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from schedules.model import Busy, Demand, Executor, Lane, Launch, Pool, Snapshot, Waiting
from schedules.placement import Room, rooms
from schedules.policy import default

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
E1 = Executor("e1", "p", "ready", 4, 3, NOW - timedelta(hours=1))
POOL = Pool("p", Decimal(1), 4, 8, 4, 10 * SECOND, 10 * SECOND)


def seen(executor: Executor, *waiting: Waiting, ends: tuple[int, ...] = (5, 20, 600)) -> Snapshot:
    running = tuple(Busy(NOW + n * SECOND, 1, "e1") for n in ends)
    return Snapshot(NOW, (Lane("default"),), (POOL,), (executor,), (Demand("default", waiting, running),))


def narrow(count: int = 1) -> Waiting:
    return Waiting(count, NOW, NOW, 60 * SECOND, 1, "2")


def test_free_slots_that_are_kept_are_no_room_for_others() -> None:
    assert not [a for a in default(seen(E1, narrow())).actions if isinstance(a, Launch)]
    kept = replace(E1, kept=4, kept_for="1")
    assert [a.who for a in default(seen(kept, narrow())).actions if isinstance(a, Launch)] == ["2"]


def test_a_kept_executor_is_a_room_for_the_wide_task_once_it_has_drained() -> None:
    found = rooms(seen(replace(E1, kept=2, kept_for="1")), [replace(E1, kept=2, kept_for="1")])
    assert [(r.slots, r.copies, r.certain) for r in found] == [(2, 1, False), (1, 1, False), (1, 1, False)]
    first, second, third = (r.at for r in found)
    assert 5_000_000 <= first <= 5_100_000  # with the one that is free
    assert second >= 20_000_000
    assert third >= 600_000_000


def test_an_executor_whose_end_nobody_knows_promises_nothing() -> None:
    kept = replace(E1, kept=4, kept_for="1")
    assert rooms(seen(kept, ends=(5, -1, 600)), [kept]) == []


def test_the_wide_task_orders_no_other_when_it_will_fit_in_time() -> None:
    kept = replace(E1, kept=4, kept_for="1")
    wide = Waiting(1, NOW, NOW + 60 * SECOND, 60 * SECOND, 4, "1")
    assert default(seen(kept, wide, ends=(1, 2, 3))).actions == ()
    assert [type(a) for a in default(seen(kept, wide, ends=(1, 2, 600))).actions] == [Launch]
    assert isinstance(rooms(seen(kept, ends=(1, 2, 3)), [kept])[0], Room)
