"""The policy orders only what fits what a task needs, as many as it needs, and keeps what waiting work could use."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from schedules.model import Action, Busy, Demand, Executor, Lane, Launch, Pool, Retire, Snapshot, Waiting
from schedules.needs import Offer
from schedules.policy import default

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GPUS = Offer((("gpus", 2),), (("arch", "arm64"),))
PLAIN = Pool("plain", Decimal(1), 4, 400, 4, 10 * SECOND, 10 * SECOND)
GRAPHIC = replace(PLAIN, name="graphic", price_per_hour=Decimal(9), offer=GPUS)
E1 = Executor("e1", "graphic", "ready", 4, 0, NOW - timedelta(hours=1), NOW - timedelta(hours=1), offer=GPUS)


def seen(*waiting: Waiting, executors: tuple[Executor, ...] = (), running: tuple[Busy, ...] = ()) -> Snapshot:
    return Snapshot(NOW, (Lane("default"),), (PLAIN, GRAPHIC), executors, (Demand("default", waiting, running),))


def waits(count: int, gpus: int = 1, labels: tuple[str, ...] = ()) -> Waiting:
    amounts = (("gpus", gpus),) if gpus else ()
    return Waiting(count, NOW, NOW, 600 * SECOND, 1, "7", amounts, labels)


def ordered(actions: tuple[Action, ...]) -> dict[str, int]:
    assert all(isinstance(a, Launch | Retire) for a in actions)
    return {a.pool: a.count for a in actions if isinstance(a, Launch)}


def test_only_a_pool_that_has_it_is_asked_for_as_many_as_are_needed() -> None:
    decision = default(seen(waits(6)))
    assert ordered(decision.actions) == {"graphic": 3}
    [launch] = [a for a in decision.actions if isinstance(a, Launch)]
    assert (launch.slots, launch.who) == (4, "7")
    assert "each needs gpus=1" in launch.why


def test_what_needs_nothing_rare_asks_the_plain_pool_even_where_both_cost_the_same() -> None:
    """As machines of one's own do, which cost nothing."""
    alike = replace(GRAPHIC, price_per_hour=Decimal(0), boot=5 * SECOND, boot_p95=5 * SECOND)
    snapshot = replace(seen(waits(4, gpus=0)), pools=(alike, replace(PLAIN, price_per_hour=Decimal(0))))
    assert ordered(default(snapshot).actions) == {"plain": 1}


def test_labels_choose_the_pool() -> None:
    assert ordered(default(seen(waits(4, 0, ("arch=arm64",)))).actions) == {"graphic": 1}
    assert ordered(default(seen(waits(4, 0, ("!arch",)))).actions) == {"plain": 1}


def test_what_is_free_or_comes_back_in_time_is_used_before_another_is_ordered() -> None:
    assert ordered(default(seen(waits(2), executors=(E1,))).actions) == {}
    busy = replace(E1, busy_slots=2, idle_since=None)
    held = tuple(Busy(NOW + n * SECOND, 1, "e1", (("gpus", 1),)) for n in (1, 2))
    assert ordered(default(seen(waits(1), executors=(busy,), running=held)).actions) == {}
    late = tuple(replace(one, predicted_finish=NOW + 900 * SECOND) for one in held)
    assert ordered(default(seen(waits(1), executors=(busy,), running=late)).actions) == {"graphic": 1}


def test_free_slots_without_what_is_needed_are_no_room() -> None:
    """Both devices are in use by one task, three slots are free."""
    busy = replace(E1, busy_slots=1, idle_since=None)
    held = (Busy(NOW + 900 * SECOND, 1, "e1", (("gpus", 2),)),)
    assert ordered(default(seen(waits(1), executors=(busy,), running=held)).actions) == {"graphic": 1}
    assert ordered(default(seen(waits(3, gpus=0), executors=(busy,), running=held)).actions) == {}


def test_what_no_pool_gives_is_told_and_nothing_is_ordered_for_it() -> None:
    decision = default(seen(waits(1, 3)))
    assert ordered(decision.actions) == {}
    assert [(u.who, u.why, u.obstacles) for u in decision.unmet] == [("7", "no pool gives gpus=3", ())]


def test_the_ceiling_holds_for_both_together() -> None:
    snapshot = replace(seen(waits(6)), pools=(replace(GRAPHIC, ceiling=8),))
    decision = default(snapshot)
    assert ordered(decision.actions) == {"graphic": 2}
    assert [u.obstacles for u in decision.unmet] == [("ceiling",)]


def test_an_idle_one_stays_for_what_waits_and_could_use_it() -> None:
    idle = (E1, replace(E1, id="e2", pool="plain", offer=Offer()))
    gone = [a.executor for a in default(seen(waits(1), executors=idle)).actions if isinstance(a, Retire)]
    assert gone == ["e2"]


class Counted(tuple[Busy, ...]):
    """What runs, and how often somebody went through all of it."""

    times = 0

    def __iter__(self) -> Iterator[Busy]:
        Counted.times += 1
        return super().__iter__()


def test_what_runs_is_gone_through_as_often_however_many_executors_there_are() -> None:
    def looks(count: int) -> int:
        there = tuple(replace(E1, id=f"e{n}", busy_slots=1, idle_since=None) for n in range(count))
        held = Counted(Busy(NOW + 900 * SECOND, 1, e.id, (("gpus", 2),)) for e in there)
        Counted.times = 0
        assert ordered(default(seen(waits(1), executors=there, running=held)).actions) == {"graphic": 1}
        return Counted.times

    assert looks(20) == looks(2)
