"""What people hold, set, drain and stop: nothing more is handed out, what runs ends, and it is told who and why."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from farm import fleet, orders
from farm import tables as t
from farm.acts import By, acts, held_now
from farm.config import FarmConfig, PoolConfig
from farm.db import Database
from farm.integrity import look
from farm.model import ExecutorState, Item, Range, StepSpec
from farm.observe import observe
from farm.queue.cancel import cancel
from farm.queue.setting import Setting
from farm.reference import parse_reference
from farm.refusal import Conflict, NotFound, Refusal
from farm.steering import Steering
from schedules.policy import default
from tests.contract.queue_farm import QueueFarm
from tests.contract.why_scenes import there

CONFIG = FarmConfig(pools={"local": PoolConfig(slots=2, ceiling=4), "paid": PoolConfig(ceiling=4, price_per_hour=1)})


@pytest.fixture
def farm(db: Database) -> Iterator[QueueFarm]:
    yield QueueFarm(db)
    assert [f.what for f in look(db) if f.rule in ("holds", "turns", "counters")] == []


def array(last: int, **more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x", "{index}"), "array": Range(first=1, last=last), **more})


def steer(farm: QueueFarm, why: str = "", config: FarmConfig = CONFIG) -> Steering:
    return farm.steering(config, By("eva", why, farm.clock.now()))


def waiting(farm: QueueFarm) -> int:
    """Tasks that the policy counts."""
    with farm.db.write() as tx:
        return sum(w.count for d in observe(tx, CONFIG, farm.clock.now()).demand for w in d.waiting)


def acted(farm: QueueFarm) -> list[tuple[object, ...]]:
    with farm.db.read() as tx:
        return [(a["who"], a["verb"], a["kind"], a["name"], a["why"]) for a in acts(tx, "", "", 100)]


# ── jobs ──


def test_a_held_job_hands_nothing_more_out_and_what_runs_ends(farm: QueueFarm) -> None:
    job = farm.submit(array(5))
    works = farm.claim(2)
    assert steer(farm, "wrong scene").hold(str(job)) == {"kind": "job", "name": str(job), "held": True, "running": 2}
    assert (farm.state(job), waiting(farm), farm.claim(9)) == ("held", 0, [])
    farm.finish(works)
    assert (farm.state(job), farm.counts(job)) == ("held", {"ready": 3, "done": 2})
    steer(farm).release(f"job:{job}")
    assert (farm.state(job), waiting(farm)) == ("queued", 3)
    assert farm.run(job) == [f"{job}.{n}.1" for n in (3, 4, 5)]
    assert farm.state(job) == "done"
    assert acted(farm) == [("eva", "release", "job", "1", ""), ("eva", "hold", "job", "1", "wrong scene")]


def test_a_job_released_while_its_tasks_run_runs(farm: QueueFarm) -> None:
    job = farm.submit(array(2))
    farm.claim()
    steer(farm).hold(str(job))
    steer(farm).release(str(job))
    assert farm.state(job) == "running"


def test_a_task_that_failed_in_a_held_job_waits_with_it(farm: QueueFarm) -> None:
    job = farm.submit(array(1, retries=1))
    works = farm.claim()
    steer(farm).hold(str(job))
    farm.finish(works, exit=3)
    assert (farm.state(job), farm.claim(), waiting(farm)) == ("held", [], 0)
    steer(farm).release(str(job))
    assert [w.attempt for w in farm.claim()] == [f"{job}.1.2"]


def test_a_held_job_ends_with_its_last_running_task(farm: QueueFarm) -> None:
    job = farm.submit(array(1))
    works = farm.claim()
    steer(farm).hold(str(job))
    farm.finish(works, exit=1)
    assert farm.state(job) == "failed"
    with pytest.raises(Conflict, match="failed already"):
        steer(farm).release(str(job))
    farm.retry(str(job))
    assert len(farm.claim()) == 1  # nothing of the hold is left


def test_steps_and_items_behind_a_held_one_stay_held(farm: QueueFarm) -> None:
    items = (Item(name="a", argv=("b",)), Item(name="b", argv=("b",), after=("a",)))
    job = farm.submit(StepSpec(items=items), array(2, name="then", after=("main",)))
    works = farm.claim()
    steer(farm).hold(str(job))
    farm.finish(works)
    assert (farm.tasks(job), farm.claim(9)) == ({"a": "done", "b": "ready"}, [])
    steer(farm).release(str(job))
    works = farm.claim()
    steer(farm).hold(str(job))
    farm.finish(works)
    assert farm.claim(9) == []
    steer(farm).release(str(job))
    assert len(farm.claim(9)) == 2


def test_what_is_retried_in_a_held_job_is_held(farm: QueueFarm) -> None:
    job = farm.submit(array(3))
    works = farm.claim(2)
    farm.finish(works[:1], exit=1)
    steer(farm).hold(str(job))
    assert farm.retry(str(job)) == 1
    assert farm.claim(9) == []
    steer(farm).release(str(job))
    assert len(farm.claim(9)) == 2


def test_a_held_job_can_be_cancelled(farm: QueueFarm) -> None:
    job = farm.submit(array(3))
    steer(farm).hold(str(job))
    with farm.db.write() as tx:
        cancel(tx, parse_reference(str(job)), farm.clock.now())
    assert farm.state(job) == "cancelled"
    with farm.db.read() as tx:
        assert held_now(tx) == []


def test_a_job_submitted_held_says_so(farm: QueueFarm) -> None:
    job = farm.submit(array(3), held=True)
    assert (farm.claim(9), waiting(farm)) == ([], 0)
    with farm.db.read() as tx:
        assert [(h["name"], h["who"], h["why"]) for h in held_now(tx)] == [(str(job), "ada", "submitted so")]
    steer(farm).release(str(job))
    assert len(farm.claim(9)) == 3


def test_a_held_job_behind_another_waits_for_both(farm: QueueFarm) -> None:
    first = farm.submit(array(1))
    job = farm.submit(array(1), after=(first,))
    steer(farm).hold(str(job))
    farm.run(first)
    assert farm.claim() == []
    steer(farm).release(str(job))
    assert len(farm.claim()) == 1


# ── lanes ──


def test_of_a_held_lane_nothing_is_handed_out(farm: QueueFarm) -> None:
    bulk, other = farm.submit(array(3), lane="bulk"), farm.submit(array(1))
    steer(farm).hold("lane:bulk")
    assert (waiting(farm), [w.attempt for w in farm.claim(9)]) == (1, [f"{other}.1.1"])
    late = farm.submit(array(1), lane="bulk")
    assert farm.claim(9) == []
    steer(farm).release("bulk")
    assert {w.attempt for w in farm.claim(9)} == {f"{bulk}.1.1", f"{bulk}.2.1", f"{bulk}.3.1", f"{late}.1.1"}


def test_a_held_lane_is_owed_nothing_for_the_time(farm: QueueFarm) -> None:
    """Else it would take everything for as long as it was held."""
    farm.submit(array(9, predicted_s=10), lane="interactive", owner="bob")
    other = farm.submit(array(9, predicted_s=10), lane="default")
    farm.finish(farm.claim(2))
    steer(farm).hold("interactive")
    for _ in range(5):
        farm.finish(farm.claim())
    steer(farm).release("interactive")
    assert other in {int(w.attempt.split(".")[0]) for w in farm.claim(6)}


def test_a_job_moved_out_of_a_held_lane_goes_on(farm: QueueFarm) -> None:
    job = farm.submit(array(2), lane="bulk")
    steer(farm).hold("lane:bulk")
    steer(farm).set(job, Setting(lane="default"))
    assert len(farm.claim(9)) == 2


# ── pools and spending ──


def decide(farm: QueueFarm, config: FarmConfig = CONFIG) -> list[tuple[str, str]]:
    with farm.db.write() as tx:
        found = default(observe(tx, config, farm.clock.now()))
    return [(type(a).__name__, getattr(a, "pool", "") or getattr(a, "executor", "")) for a in found.actions]


def states(farm: QueueFarm) -> dict[str, str]:
    with farm.db.read() as tx:
        return {row.id: row.state for row in fleet.alive(tx)}


def test_a_held_pool_orders_nothing_and_its_executors_get_nothing_more(farm: QueueFarm) -> None:
    there(farm, "e1")
    there(farm, "e2", pool="paid")
    there(farm, "e3", state=ExecutorState.BOOTING, ready=None, idle_since=None)
    farm.submit(array(9))
    steer(farm, "maintenance").hold("pool:local")
    assert states(farm) == {"e1": "draining", "e2": "ready", "e3": "draining"}
    with farm.db.read() as tx:
        assert tx.execute(select(t.Executor.why).where(t.Executor.id == "e1")).scalar_one() == (
            "pool local is held by eva: maintenance"
        )
    assert set(decide(farm)) == {("Launch", "paid")}
    steer(farm).release("local")
    assert ("Launch", "local") in decide(farm)


def test_the_floor_of_a_held_pool_is_not_kept(farm: QueueFarm) -> None:
    config = FarmConfig(pools={"local": PoolConfig(ceiling=4, floor=2)})
    assert decide(farm, config) == [("Launch", "local")]
    steer(farm, config=config).hold("local")
    there(farm, "e1")
    assert decide(farm, config) == [("Retire", "e1")]


def test_executors_that_come_after_the_hold_go_too(farm: QueueFarm) -> None:
    steer(farm).hold("local")
    there(farm, "idle")
    there(farm, "busy")
    farm.submit(array(1))
    farm.claim(executor="busy")
    assert sorted(decide(farm)) == [("Drain", "busy"), ("Retire", "idle")]


def test_stopped_spending_leaves_what_costs_nothing(farm: QueueFarm) -> None:
    there(farm, "e1")
    there(farm, "e2", pool="paid")
    farm.submit(array(9))
    assert steer(farm, "no money").spending(True) == {"stopped": True, "pools": ["paid"]}
    assert states(farm) == {"e1": "ready", "e2": "draining"}
    assert set(decide(farm)) == {("Launch", "local")}
    with pytest.raises(Conflict, match="is stopped by eva: no money already"):
        steer(farm).spending(True)
    assert steer(farm).spending(False) == {"stopped": False, "pools": []}
    with pytest.raises(Conflict, match="was not stopped"):
        steer(farm).spending(False)
    assert [a[1] for a in acted(farm)] == ["resume-spending", "stop-spending"]


def test_a_pool_that_costs_nothing_in_this_window_goes_on(farm: QueueFarm) -> None:
    free = [{"name": "free", "pools": {"paid": {"price_per_hour": 0}}}]
    config = FarmConfig.model_validate({"pools": {"paid": {"ceiling": 4, "price_per_hour": 1}}, "schedules": free})
    farm.submit(array(2))
    assert steer(farm, config=config).spending(True)["pools"] == []
    assert decide(farm, config) == [("Launch", "paid")]


def test_a_drained_executor_gets_nothing_more(farm: QueueFarm) -> None:
    there(farm)
    assert steer(farm, "loud").drain("e1") == {"executor": "e1", "state": "draining"}
    with farm.db.read() as tx:
        row = tx.execute(select(t.Executor)).one()
    assert (row.state, row.why) == ("draining", "drained by eva: loud")
    with pytest.raises(Conflict, match="drains already"):
        steer(farm).drain("e1")
    with farm.db.write() as tx:
        fleet.ended(tx, "e1", "gone", farm.clock.now())
    with pytest.raises(Conflict, match="gone already"):
        steer(farm).drain("e1")
    with pytest.raises(NotFound):
        steer(farm).drain("e9")
    assert acted(farm) == [("eva", "drain", "executor", "e1", "loud")]


def test_an_executor_that_is_only_ordered_is_not_ordered_any_more(farm: QueueFarm) -> None:
    now = farm.clock.now()
    row = {"token": "abc", "pool": "local", "machines": 2, "slots": 1, "state": "open", "why": "a task waits"}
    with farm.db.write() as tx:
        tx.execute(t.Order.__table__.insert(), {**row, "created": now, "not_before": now})  # type: ignore[attr-defined]
    for none in ("abc-3", "abc-0", "abc-", "abc", "abc-x", "abc--1"):
        with pytest.raises(NotFound):
            steer(farm).drain(none)
    with pytest.raises(NotFound):
        steer(farm).drain("abc-01")
    steer(farm).drain("abc-1")
    with pytest.raises(Conflict, match="taken off its order already"):
        steer(farm).drain("abc-1")
    with farm.db.read() as tx:
        assert tx.execute(select(t.Order.machines, t.Order.state)).one() == (1, "open")
    with pytest.raises(NotFound):
        steer(farm).drain("abc-2")
    with farm.db.write() as tx:
        orders.less(tx, "abc-1", "nothing waits")
    with farm.db.read() as tx:
        assert tx.execute(select(t.Order.machines, t.Order.state)).one() == (0, "closed")


# ── set ──


def turns(farm: QueueFarm, job: int) -> tuple[set[tuple[str, datetime]], set[tuple[str, datetime]]]:
    with farm.db.read() as tx:
        steps = tx.execute(select(t.Step.lane, t.Step.due).where(t.Step.job == job))
        return {tuple(s) for s in steps}, {
            tuple(r) for r in tx.execute(select(t.Task.lane, t.Task.due).where(t.Task.job == job))
        }


def test_priority_moves_a_job_before_others(farm: QueueFarm) -> None:
    first, second = farm.submit(array(2)), farm.submit(array(2))
    assert steer(farm).set(second, Setting(priority=1)) == {"job": second, "changed": {"priority": [0, 1]}}
    assert [w.attempt.split(".")[0] for w in farm.claim(3)] == [str(second), str(second), str(first)]
    assert farm.job(second)["priority"] == 1


def test_a_lane_takes_everything_of_the_job_along(farm: QueueFarm) -> None:
    items = tuple(Item(name=name, argv=("b",)) for name in "abc")
    job = farm.submit(StepSpec(items=items, predicted_s=1000))
    steps, tasks = turns(farm, job)
    assert steps == tasks
    farm.finish(farm.claim(), exit=1)
    steer(farm).set(job, Setting(lane="bulk"))
    (place,), tasks = turns(farm, job)
    assert place == ("bulk", farm.clock.now() - timedelta(seconds=1) + timedelta(seconds=1000))
    assert place in tasks
    farm.retry(f"{job}.1")  # what had ended when it was set comes into the same turn
    assert turns(farm, job) == ({place}, {place})
    assert len(farm.claim(9)) == 3


def test_a_deadline_makes_due_what_would_else_miss_it(farm: QueueFarm) -> None:
    job = farm.submit(array(2, predicted_s=3600), array(1, name="film", predicted_s=1800, after=("main",)), lane="bulk")
    now = farm.clock.now()
    changed = steer(farm).set(job, Setting(deadline=now + timedelta(hours=2)))["changed"]
    assert changed == {"deadline": [None, "2026-01-05T14:00:00+00:00"]}
    with farm.db.read() as tx:
        dues = dict(tx.execute(select(t.Step.name, t.Step.due)).all())
    assert dues == {"main": now + timedelta(minutes=30), "film": now + timedelta(minutes=30)}
    steer(farm).set(job, Setting(deadline_off=True))
    with farm.db.read() as tx:
        assert tx.execute(select(t.Step.due).order_by(t.Step.ordinal)).scalars().first() == now + timedelta(hours=1)


def test_a_deadline_is_no_higher_than_the_highest_priority(farm: QueueFarm) -> None:
    job = farm.submit(array(1, predicted_s=360000))
    steer(farm).set(job, Setting(deadline=farm.clock.now() + timedelta(minutes=1)))
    with farm.db.read() as tx:
        due = tx.execute(select(t.Step.due)).scalar_one()
    assert due == farm.clock.now() - timedelta(hours=10)  # 100 points of 6 minutes


def test_what_can_not_be_set_is_refused_and_changes_nothing(farm: QueueFarm) -> None:
    job, now = farm.submit(array(1)), farm.clock.now()
    with pytest.raises(Refusal, match="no lane 'bulkk'"):
        steer(farm).set(job, Setting(lane="bulkk"))
    with pytest.raises(Refusal, match="is over"):
        steer(farm).set(job, Setting(deadline=now))
    with pytest.raises(Conflict, match="is so already"):
        steer(farm).set(job, Setting(priority=0))
    with pytest.raises(NotFound):
        steer(farm).set(9, Setting(priority=1))
    farm.run(job)
    with pytest.raises(Conflict, match="done already"):
        steer(farm).set(job, Setting(priority=1))
    assert acted(farm) == []


# ── names ──


def test_names_mean_one_thing_or_are_refused(farm: QueueFarm) -> None:
    config = FarmConfig(pools={"bulk": PoolConfig(), "local": PoolConfig()})
    with pytest.raises(Refusal, match="a lane and a pool are named 'bulk'") as both:
        steer(farm, config=config).hold("bulk")
    assert both.value.remedy == "write lane:bulk or pool:bulk"
    for name in ("nowhere", "lane:local", "pool:default", "9", "executor:e1", "job:x", "0"):
        with pytest.raises(Refusal):
            steer(farm, config=config).hold(name)
    steer(farm, config=config).hold("pool:bulk")
    steer(farm, config=config).hold("local")
    with pytest.raises(Conflict, match="pool local is held by eva already"):
        steer(farm, config=config).hold("local")
    with pytest.raises(Conflict, match="lane bulk is not held"):
        steer(farm, config=config).release("lane:bulk")
    assert [a[3] for a in acted(farm)] == ["local", "bulk"]


def test_what_left_the_settings_can_still_be_released(farm: QueueFarm) -> None:
    steer(farm).hold("paid")
    without = FarmConfig(pools={"local": PoolConfig()})
    steer(farm, config=without).release("pool:paid")
    with pytest.raises(NotFound):
        steer(farm, config=without).hold("pool:paid")


def test_whoever_may_not_changes_nothing(farm: QueueFarm) -> None:
    job = farm.submit(array(1))

    def never(_tx: object, about: object) -> None:
        raise Refusal(f"not {about}")

    bob = Steering(steer(farm).farm, By("bob", "", datetime(2026, 1, 5, tzinfo=UTC)), never)
    for act in (
        lambda: bob.hold(str(job)),
        lambda: bob.hold("bulk"),
        lambda: bob.release("bulk"),
        lambda: bob.set(job, Setting(priority=3)),
        lambda: bob.drain("e1"),
        lambda: bob.spending(True),
    ):
        with pytest.raises(Refusal, match="not "):
            act()
    assert (farm.state(job), acted(farm)) == ("queued", [])
