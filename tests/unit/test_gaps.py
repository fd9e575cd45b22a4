"""How long an idle executor is kept, learned from the gaps there were; and what a preset makes of a farm."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.config import BadConfig, FarmConfig, load
from schedules.gaps import BUCKETS, ENOUGH, MOST, Gaps, best, bucket
from schedules.model import Demand, Executor, Pool, Retire, Snapshot, Waiting
from schedules.policy import default
from schedules.presets import KNOBS, PRESETS, Preset

S = timedelta(seconds=1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
POOL = Pool("cloud", Decimal(1), 1, 100, 1, 60 * S, 60 * S, boots_kept=1.0, learns=True)


def after_gaps(length, count=ENOUGH, level=1):
    """What was learned when `level` executors were at work again and again, with gaps of so many µs."""
    gaps, at = Gaps(), 0
    for _ in range(count + 1):
        gaps.saw(at, level)
        gaps.saw(at + MINUTE, level - 1)
        at += MINUTE + length
    return gaps


def test_short_gaps_are_kept_over_and_long_ones_are_not():
    assert best([5 * SECOND] * 20, MINUTE) == 6 * SECOND
    assert best([10 * MINUTE] * 20, MINUTE) == 0
    assert best([50 * SECOND] * 30 + [10 * MINUTE], MINUTE) == MINUTE


def test_until_there_are_enough_gaps_an_executor_is_kept_for_what_a_boot_is_worth():
    assert after_gaps(10 * MINUTE, ENOUGH - 1).kept(MINUTE) == (MINUTE,) * BUCKETS
    assert after_gaps(10 * MINUTE, ENOUGH).kept(MINUTE) == (0,) * BUCKETS


def test_each_level_learns_from_its_own_gaps_and_none_is_kept_longer_than_a_lower_one():
    kept = after_gaps(10 * MINUTE, level=2).kept(MINUTE)
    assert kept[bucket(1)] == MINUTE
    assert set(kept[bucket(2) :]) == {0}


def test_it_learns_anew_when_the_gaps_change():
    gaps = after_gaps(10 * MINUTE)
    assert gaps.kept(MINUTE)[0] == 0
    at = 10**12
    for n in range(400):
        gaps.saw(at + 2 * n * SECOND, n % 2)
    assert gaps.kept(MINUTE)[0] > 0


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 60)), max_size=200), st.integers(0, 10**8))
@settings(max_examples=60, deadline=None)
def test_whatever_there_was_none_is_kept_longer_than_a_boot_is_worth(steps, worth):
    gaps, at = Gaps(), 0
    for wait, level in steps:
        at += wait
        gaps.saw(at, level)
        assert gaps.level == level
    kept = gaps.kept(worth)
    assert all(0 <= each <= worth for each in kept)
    assert sorted(kept, reverse=True) == [*kept]


def idle(name, seconds):
    return Executor(name, "cloud", "ready", 1, 0, NOW - 900 * S, NOW - seconds * S)


def gone(seen):
    return [act.executor for act in default(seen).actions if isinstance(act, Retire)]


def test_an_executor_goes_as_soon_as_was_learned_at_its_level():
    kept = (60 * S, 60 * S, 10 * S, *[10 * S] * (BUCKETS - 3))
    there = tuple(idle(f"e{n}", 20 + n) for n in range(4))
    seen = Snapshot(NOW, (), (replace(POOL, kept=kept),), there, ())
    assert gone(seen) == ["e3", "e2"]  # for a third and a fourth there is mostly no work for longer
    assert gone(replace(seen, pools=(POOL,))) == []


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.lists(st.integers(0, 60), min_size=7, max_size=7))
@settings(max_examples=60, deadline=None)
def test_whoever_is_idle_for_longer_goes_first(ages, learned):
    pool = replace(POOL, kept=tuple(each * S for each in sorted(learned, reverse=True)))
    there = {f"e{n}": idle(f"e{n}", age) for n, age in enumerate(ages)}
    left = there.keys() - set(gone(Snapshot(NOW, (), (pool,), tuple(there.values()), ())))
    went = there.keys() - left
    assert all(there[a].idle_since <= there[b].idle_since for a in went for b in left)


def test_pools_that_do_not_learn_stay_as_they_are():
    seen = Snapshot(NOW, (), (replace(POOL, learns=False),), (), ())
    assert Gaps().told(seen) is seen
    assert Gaps().told(replace(seen, pools=(POOL,))).pools[0].kept == (60 * S,) * BUCKETS


def test_who_only_looks_sees_what_was_told_last_and_teaches_nothing():
    seen, gaps = Snapshot(NOW, (), (POOL,), (idle("e1", 20),), ()), after_gaps(10 * MINUTE)
    assert gaps.known(seen) is seen
    told = gaps.told(seen)
    level = gaps.level
    assert gaps.known(replace(seen, executors=(replace(seen.executors[0], busy_slots=1),))).pools == told.pools
    assert gaps.level == level
    assert gone(told) == ["e1"]  # for no time at all


def test_a_preset_in_farm_toml_sets_lanes_and_pools(tmp_path):
    (tmp_path / "farm.toml").write_text('policy = "thrifty"\n[lanes.default]\nw_max = "10m"\n')
    config = load(tmp_path / "farm.toml")
    assert config.all_lanes()["bulk"] == PRESETS["thrifty"].lanes[2]
    assert config.all_lanes()["default"].w_max == 600 * S  # what is said of a lane wins
    pool = config.under_policy(replace(POOL, learns=False, boots_kept=1.5))
    assert (pool.learns, pool.prompt, pool.boots_kept) == (True, True, 1.0)
    assert FarmConfig().under_policy(POOL) is POOL


def test_an_unknown_preset_is_refused(tmp_path):
    (tmp_path / "farm.toml").write_text('currency = "EUR"\npolicy = "thirfty"\n')
    with pytest.raises(BadConfig) as told:
        load(tmp_path / "farm.toml")
    assert "line 2" in told.value.where


def test_each_knob_of_a_preset_is_told():
    own = {field.name for field in fields(Preset)} - {"name", "says", "lanes"}
    assert {knob.name for knob in KNOBS} == own | {"weight", "alpha", "w_min", "w_max"}


def test_a_backlog_of_millions_is_not_counted_level_by_level():
    waiting = Waiting(10**6, NOW, NOW, 60 * S)
    gaps = Gaps()
    gaps.told(Snapshot(NOW, (), (POOL,), (), (Demand("bulk", (waiting,)),)))
    assert gaps.level == MOST
