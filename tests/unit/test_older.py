"""A pool that has got devices or labels since its executors were ordered: at its ceiling they make way for others."""

from dataclasses import replace

import pytest

from schedules.model import Drain, Executor, Launch, Pool, Retire
from schedules.needs import Offer
from schedules.policy import default
from tests.unit.test_kinds import E1, GRAPHIC, NOW, PLAIN, SECOND, seen, waits

FULL = replace(GRAPHIC, ceiling=8)
OLD = Offer((), (("arch", "amd64"),))
BEFORE = tuple(replace(E1, id=f"e{n}", offer=OLD, busy_slots=n, idle_since=None if n else NOW) for n in (1, 2))


def acts(*executors: Executor, gpus: int = 1, pools: tuple[Pool, ...] = (PLAIN, FULL)) -> list[tuple[type, str]]:
    decision = default(replace(seen(waits(1, gpus), executors=executors), pools=pools))
    return [(type(a), a.pool if isinstance(a, Launch) else a.executor) for a in decision.actions]


def test_the_one_with_least_to_do_gets_no_more_work() -> None:
    assert acts(*BEFORE) == [(Drain, "e1")]


def test_an_empty_one_goes_at_once_though_it_has_not_idled_for_long() -> None:
    empty = replace(BEFORE[1], busy_slots=0, idle_since=NOW)
    assert acts(BEFORE[0], empty) == [(Retire, "e2")]


def test_one_on_its_way_out_is_enough() -> None:
    assert acts(replace(BEFORE[0], state="draining"), BEFORE[1]) == []


def test_when_it_has_gone_a_new_one_is_ordered() -> None:
    assert acts(BEFORE[1]) == [(Launch, "graphic")]


@pytest.mark.parametrize("state", ["ready", "booting", "ordered"])
def test_nobody_goes_where_one_has_it_or_will(state: str) -> None:
    able = replace(E1, id="new", state=state, busy_slots=4 if state == "ready" else 0, idle_since=None)
    assert acts(BEFORE[0], able) == []


def test_nobody_goes_where_another_pool_has_room() -> None:
    other = replace(GRAPHIC, name="other")
    assert acts(*BEFORE, pools=(PLAIN, FULL, other)) == [(Launch, "other")]


def test_nobody_goes_for_what_new_ones_would_not_have_either() -> None:
    assert acts(*BEFORE, gpus=3) == []
    small = tuple(replace(one, offer=GRAPHIC.offer, slots=1, busy_slots=1) for one in BEFORE)
    tight = replace(FULL, ceiling=2, slots=1)
    wide = replace(waits(1), slots=2)
    assert default(replace(seen(wide, executors=small), pools=(tight,))).actions == ()


def test_a_closed_pool_or_one_whose_machines_fail_sends_nobody_away_for_it() -> None:
    assert acts(*BEFORE, pools=(replace(FULL, breaker_open_until=NOW + SECOND),)) == []


def test_why_it_waits_is_told() -> None:
    executors = (replace(BEFORE[0], state="draining"), BEFORE[1])
    decision = default(replace(seen(waits(1), executors=executors), pools=(FULL,)))
    (unmet,) = decision.unmet
    assert unmet.obstacles == ("ceiling",)
    assert unmet.why.endswith("; 2 executors there are from before it had that, and make way")
    drained = default(replace(seen(waits(1), executors=BEFORE), pools=(FULL,))).actions[0]
    assert isinstance(drained, Drain)
    assert "job 7, which waits for gpus=1, needs what pool graphic has only since" in drained.why
