"""Decisions are kept whole or by what is new in them, and any of them can be read and decided again."""

import random
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, func, select

from executors.simulated import SimulatedOptions
from farm import decisions
from farm import tables as t
from farm.config import FarmConfig
from farm.db import Database, migrate
from farm.why.look import Look
from farm.why.pool import pool
from schedules.model import Busy, Decision, Demand, Executor, Hours, Lane, Launch, Pool, Snapshot, Waiting, Window
from schedules.policy import default
from tests.properties.simulated_farm import SimulatedFarm

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
S = timedelta(seconds=1)
CLOUD = Pool("cloud", Decimal("0.50"), 4, 4000, 16, 60 * S, 90.5 * S, min_bill=60 * S)
NIGHT = Window("night", "Europe/Prague", frozenset({0, 4}), time(22), time(6), {"cloud": Hours(2, None, 5 * S)})


def seen(seed: int, executors: int = 200, now: datetime = NOW) -> Snapshot:
    """A farm at work; `seed` moves a few things of it."""
    same, new = random.Random(0), random.Random(seed)
    there = [
        Executor(
            f"{same.randrange(16**8):08x}-1", "cloud", "ready", 4, same.randrange(1, 5), NOW - same.random() * 9 * S
        )
        for _ in range(executors)
    ]
    for place in new.sample(range(executors), min(3, executors)):
        there[place] = replace(there[place], busy_slots=0, idle_since=now - 40 * S)
    waiting = tuple(
        Waiting(same.randrange(1, 90), NOW, NOW + 30 * S, same.random() * 900 * S, 1, str(n), labels=("arch=arm64",))
        for n in range(40)
    )
    busy = tuple(Busy(NOW + same.random() * 900 * S, 1, e.id, (("gpus", 1),)) for e in there)
    lane = Lane("default", 2, 0.5, 100 * S, 900 * S)
    changed = replace(waiting[new.randrange(40)], count=7, labels=(), who='odd "},{" name')
    demand = (Demand("bulk"), Demand("default", (*waiting, changed), busy))
    return Snapshot(now, (lane,), (CLOUD,), tuple(there), demand, (NIGHT,))


@pytest.fixture
def db(tmp_path):
    made = Database.file(tmp_path / "farm.db")
    migrate(made, "farm.db")
    yield made
    made.close()


def keep(db, archive, *snapshots):
    for each in snapshots:
        with db.write() as tx:
            archive.keep(tx, each, default(each))


def kept(db):
    with db.read() as tx:
        return decisions.last(tx, 10_000)[::-1]


def packed(db):
    with db.read() as tx:
        return [len(row.packed) for row in tx.execute(select(t.DecisionRow).order_by(t.DecisionRow.id))]


def test_what_is_kept_is_read_back_and_decided_again(db):
    snapshots = [seen(seed, now=NOW + seed * S) for seed in range(12)]
    keep(db, decisions.Archive(), *snapshots)
    for each, found in zip(snapshots, kept(db), strict=True):
        again = decisions.snapshot(found.seen)
        assert again == each
        assert default(again) == decisions.decided(found.decision)
        assert found.at == each.now


def test_a_decision_beside_others_is_small(db):
    keep(db, decisions.Archive(), *[seen(seed) for seed in range(20)])
    first, *others = packed(db)
    assert max(others) < first / 5
    with db.read() as tx:
        bases = {row.base for row in tx.execute(select(t.DecisionRow)).all()[1:]}
    assert len(bases) == 1


def test_after_half_a_day_or_many_rows_one_is_whole_again(db, monkeypatch):
    monkeypatch.setattr(decisions, "WHOLE_AFTER", 3)
    archive = decisions.Archive()
    keep(db, archive, *[seen(n) for n in range(5)], seen(5, now=NOW + decisions.WHOLE_EVERY))
    with db.read() as tx:
        whole = [row.base is None for row in tx.execute(select(t.DecisionRow).order_by(t.DecisionRow.id))]
    assert whole == [True, False, False, False, True, True]


def fails_after_keeping(db, archive):
    with db.write() as tx:
        archive.keep(tx, seen(0), default(seen(0)))
        raise ZeroDivisionError


def test_none_leans_on_what_was_rolled_back(db):
    archive = decisions.Archive()
    with pytest.raises(ZeroDivisionError):
        fails_after_keeping(db, archive)
    keep(db, archive, seen(1), seen(2))
    assert [decisions.snapshot(each.seen) for each in kept(db)] == [seen(1), seen(2)]


def test_a_farm_that_is_started_again_goes_on(db):
    keep(db, decisions.Archive(), seen(0), seen(1))
    keep(db, decisions.Archive(), seen(2), seen(3))
    assert [decisions.snapshot(each.seen) for each in kept(db)] == [seen(n) for n in range(4)]


def test_what_leans_on_a_row_that_is_gone_says_so(db):
    keep(db, decisions.Archive(), seen(0), seen(1))
    with db.write() as tx:
        tx.execute(delete(t.DecisionRow).where(t.DecisionRow.base.is_(None)))
    (found,) = kept(db)
    assert (found.seen, found.decision) == (None, {})
    assert decisions.decided(found.decision) == Decision(())


def test_rows_of_a_farm_before_this_one_are_read(db):
    with db.write() as tx:
        decision = Decision((Launch("cloud", 2, 4, "why"),), NOW)
        row = {"at": NOW, "snapshot": decisions.plain(seen(0)), "decision": decisions.plain(decision)}
        tx.execute(t.DecisionRow.__table__.insert(), row)
        found = decisions.find(tx, 1)
    assert decisions.snapshot(found.seen) == seen(0)
    assert decisions.decided(found.decision) == decision


@pytest.fixture
def farm(tmp_path):
    config = FarmConfig.model_validate({"pools": {"cloud": {"provider": "simulated", "ceiling": 3, "boot": 5}}})
    made = SimulatedFarm(tmp_path / "farm.db", config, SimulatedOptions(boot_s=5, boot_spread=0, ceiling=3))
    migrate(made.db, "farm.db")
    yield made
    made.db.close()


def test_a_farm_keeps_a_decision_only_when_it_changed(farm):
    farm.submit({"argv": ["x"], "array": {"first": 1, "last": 40}})
    for _ in range(10):
        farm.turn()
    with farm.db.read() as tx:
        before = tx.execute(select(func.count()).select_from(t.DecisionRow)).scalar_one()
    assert 1 <= before <= 6
    farm.run()
    found = kept(farm.db)
    assert all(each.decision["actions"] or each.decision["unmet"] or n for n, each in enumerate(found))
    launches = [a["count"] for each in found for a in each.decision["actions"] if "count" in a]
    assert sum(launches) == 3


def test_why_a_pool_says_what_was_decided_last(farm):
    farm.submit({"argv": ["x"], "array": {"first": 1, "last": 40}})
    farm.turn()
    with farm.db.read() as tx:
        why = pool(Look(tx, farm.config, farm.clock.now()), "cloud")
    assert "3 executors ordered, because 40 tasks of job 1 wait" in why.sentence
    assert why.numbers["decided"]["what"]
    farm.run()
    with farm.db.read() as tx:
        why = pool(Look(tx, farm.config, farm.clock.now()), "cloud")
    assert "goes, because idle for" in why.sentence


def test_why_a_pool_says_what_a_policy_of_somebodys_own_was_not_given(farm):
    note = "policy mine: it raised Ugh; what it decided last stands"
    farm.fleet.policy = lambda _seen: Decision((), None, (), (note,))
    for _ in range(5):
        farm.turn()
    with farm.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(t.DecisionRow)).scalar_one() == 1
        why = pool(Look(tx, farm.config, farm.clock.now()), "cloud")
    assert "Policy mine: it raised Ugh; what it decided last stands." in why.sentence
    assert why.numbers["notes"] == [note]


def test_what_a_policy_of_somebodys_own_has_ordered_is_not_still_to_come(farm, monkeypatch):
    """It is not asked anew, and what it decided last was carried out then."""
    monkeypatch.setattr("farm.why.look.is_own", lambda name: name == "mine")
    once = [Decision((Launch("cloud", 2, 1, "to begin with"),))]
    farm.fleet.policy = lambda _seen: once.pop() if once else Decision(())
    farm.submit({"argv": ["x"], "array": {"first": 1, "last": 40}})
    for _ in range(5):
        farm.turn()
    with farm.db.read() as tx:
        why = pool(Look(tx, farm.config.model_copy(update={"policy": "mine"}), farm.clock.now()), "cloud")
    assert why.numbers["would_order"] == 0
    assert "tasks wait, and policy mine orders nothing for them." in why.sentence
