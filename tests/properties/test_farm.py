"""The whole farm against a simulated cloud: whatever happens, nothing is lost, doubled, left running or unpaid."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from executors.simulated import Fault, SimulatedOptions
from farm import tables as t
from farm.acts import held_now
from farm.clock import EPOCH
from farm.config import FarmConfig
from farm.integrity_rules import RULES
from farm.ledger import HOUR
from farm.model import Range, StepSpec
from farm.queue.setting import Setting
from farm.reconcile import reconcile
from farm.refusal import Refusal
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "price_per_hour": "0.36", "ceiling": 4, "boot": 5, "idle": 10}


@pytest.fixture
def new(tmp_path: Path, empty: Path) -> Callable[..., Any]:
    """Makes farms, one after the other."""

    @contextmanager
    def make(seed: int = 0, faults: tuple[Fault, ...] = (), **pool: Any) -> Iterator[SimulatedFarm]:
        path = Path(shutil.copy(empty, tmp_path / f"farm-{seed}.db"))
        config = FarmConfig.model_validate({"pools": {"cloud": {**POOL, **pool}}})
        farm = SimulatedFarm(path, config, SimulatedOptions(boot_s=5, ceiling=4, seed=seed, faults=faults), seed)
        yield farm
        farm.db.close()
        for leftover in tmp_path.glob(f"farm-{seed}.db*"):
            leftover.unlink()

    return make


def array(last: int, **more: Any) -> StepSpec:
    return StepSpec.model_validate({"argv": ("x", "{index}"), "array": Range(first=1, last=last), **more})


def check(farm: SimulatedFarm) -> None:
    """What must hold at rest."""
    farm.book()
    with farm.db.read() as tx:
        accepted = select(func.count()).where(t.Attempt.state == "succeeded")
        done = select(func.count()).where(t.Task.state == "done")
        assert tx.execute(accepted).scalar_one() == tx.execute(done).scalar_one()
        active = select(func.count()).where(t.Attempt.finished.is_(None))
        assert tx.execute(active).scalar_one() == 0
        executors = tx.execute(select(t.Executor)).all()
        rows = tx.execute(select(t.Ledger)).all()
        running = select(func.coalesce(func.sum(t.Job.running), 0))
        assert tx.execute(running).scalar_one() == 0
    assert farm.machines() == []
    assert all(e.closed for e in executors)
    for e in executors:
        mine = [r for r in rows if r.executor == e.id]
        lived = (e.ended - e.launched) // timedelta(microseconds=1)
        assert sum(r.micros for r in mine) == lived
        assert sum(r.cost_nano for r in mine) == lived * e.price_nano // HOUR


def test_zero_to_n_to_zero(new: Callable[..., Any]) -> None:
    with new() as farm:
        farm.turn(60)
        assert farm.machines() == []
        job = farm.submit(array(12))
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, len(farm.machines()))

        turns = farm.run(each=look)
        assert farm.job(job)["state"] == "done"
        assert most == 4
        assert turns < 12 * 10 / 4 + 40
        check(farm)


def test_a_sold_out_pool_is_asked_again_after_its_breaker(new: Callable[..., Any]) -> None:
    with new(faults=(Fault.SOLD_OUT,)) as farm:
        job = farm.submit(array(1))
        submitted = farm.clock.now()
        farm.run()
        assert farm.job(job)["state"] == "done"
        assert farm.clock.now() - submitted > timedelta(seconds=60)
        check(farm)


def test_a_lost_answer_never_buys_twice(new: Callable[..., Any]) -> None:
    with new(faults=(Fault.LOST_ANSWER, Fault.THROTTLED)) as farm:
        farm.submit(array(2))
        farm.turn()
        assert len(farm.machines()) == 2  # bought, and nobody knows yet
        assert farm.alive() == []
        farm.run()
        with farm.db.read() as tx:
            executors = tx.execute(select(t.Executor.id, t.Executor.order)).all()
        assert sorted(e.id for e in executors) == sorted(m.id for m in farm.provider.machines())  # all are in the books
        assert all([e.order for e in executors].count(order) <= 2 for order in {e.order for e in executors})
        check(farm)


def test_a_machine_that_never_boots_is_given_up(new: Callable[..., Any]) -> None:
    with new() as farm:
        job = farm.submit(array(1))
        farm.turn()
        stuck = farm.machines()
        farm.cloud._rented[stuck[0]].ready_at += timedelta(days=1)
        farm.run()
        assert farm.job(job)["state"] == "done"
        check(farm)


def test_a_cancelled_job_is_no_demand(new: Callable[..., Any]) -> None:
    from farm.queue.cancel import cancel
    from farm.reference import parse_reference

    with new() as farm:
        job = farm.submit(array(50))
        for _ in range(8):
            farm.turn()
        with farm.db.write() as tx:
            done = cancel(tx, parse_reference(str(job)), farm.clock.now())
        for _, attempt in done.attempts:
            farm.gateway.running.pop(attempt)
        assert farm.run() < 20
        check(farm)


PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)  # explaining traces every line
STEPS = st.sampled_from(["nothing", "nothing", "break", "gateway", "service", "both", "submit", "cancel"])
PEOPLE = ("hold", "release", "set", "drain", "spending", "cut")
STEERED = st.sampled_from(["nothing", "nothing", "break", "gateway", "both", "submit", "cancel", *PEOPLE, *PEOPLE])


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(
    seed=st.integers(0, 10**6), story=st.lists(STEPS, min_size=5, max_size=40), faults=st.lists(st.sampled_from(Fault))
)
def test_whatever_happens(new: Callable[..., Any], seed: int, story: list[str], faults: list[Fault]) -> None:
    with new(seed, tuple(faults[:4])) as farm:
        farm.duration = lambda work: 1.0 + crc32(f"{seed}/{work.attempt}".encode()) % 20
        farm.exit = lambda work: int(crc32(f"{work.attempt}/{seed}".encode()) % 11 == 0)
        farm.submit(array(10, retries=3), array(3, name="b", after=("main",)))
        for step in story:
            _happen(farm, step)
            farm.turn(farm.random.choice([0.2, 1, 5]))
        farm.run()
        check(farm)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(seed=st.integers(0, 10**6), story=st.lists(STEERED, min_size=5, max_size=40))
def test_whatever_people_do(new: Callable[..., Any], seed: int, story: list[str]) -> None:
    with new(seed) as farm:
        farm.duration = lambda work: 1.0 + crc32(f"{seed}/{work.attempt}".encode()) % 20
        farm.exit = lambda work: int(crc32(f"{work.attempt}/{seed}".encode()) % 11 == 0)
        farm.submit(array(10, retries=3), array(3, name="b", after=("main",)))
        farm.submit(array(5), lane="bulk", held=True)
        for step in story:
            _steer(farm, step) if step in PEOPLE else _happen(farm, step)
            farm.turn(farm.random.choice([0.2, 1, 5]))
            heeded(farm)
            sound(farm)
        _let_go(farm)
        farm.run()
        check(farm)
        sound(farm)


def heeded(farm: SimulatedFarm) -> None:
    """Nothing of what is held was handed out since; a job that was moved into a held lane is held since then."""
    with farm.db.read() as tx:
        sets = select(t.Act.name, func.max(t.Act.at).label("at")).where(t.Act.verb == "set").group_by(t.Act.name)
        moved = {row.name: row.at for row in tx.execute(sets)}
        since = {(h["kind"], h["name"]): datetime.fromisoformat(h["at"]) for h in held_now(tx)}
        query = select(t.Attempt.claimed, t.Attempt.job, t.Job.lane, t.Executor.pool)
        query = query.join(t.Job, t.Job.id == t.Attempt.job).join(t.Executor, t.Executor.id == t.Attempt.executor)
        for row in tx.execute(query):
            about = (("job", str(row.job)), ("lane", row.lane), ("pool", row.pool), ("spending", ""))
            if row.claimed <= moved.get(str(row.job), EPOCH):  # it may have been in another lane then
                about = tuple(one for one in about if one[0] != "lane")
            assert all(row.claimed <= since[one] for one in about if one in since), (row, since)


def sound(farm: SimulatedFarm) -> None:
    with farm.db.read() as tx:
        broken = [(rule.says, tuple(row)) for rule in RULES for row in tx.execute(text(rule.query))]
    assert broken == []


def _steer(farm: SimulatedFarm, step: str) -> None:
    """As far as it can be done now."""
    choose = farm.random.choice
    with suppress(Refusal):
        match step:
            case "hold":
                farm.steer().hold(choose(["1", "2", "lane:bulk", "default", "cloud"]))
            case "release":
                farm.steer().release(choose(["1", "2", "lane:bulk", "default", "cloud"]))
            case "set":
                soon = farm.clock.now() + timedelta(minutes=1)
                new = choose(
                    [Setting(priority=9), Setting(lane="bulk"), Setting(lane="default"), Setting(deadline=soon)]
                )
                farm.steer().set(choose([1, 2]), new)
            case "cut":
                _cancel(farm, f"{choose([1, 2])}.{choose(range(1, 12))}")
            case "drain":
                farm.steer().drain(choose([*farm.alive(), "nobody"]))
            case "spending":
                farm.steer().spending(choose([True, False]))


def _let_go(farm: SimulatedFarm) -> None:
    with farm.db.read() as tx:
        held = held_now(tx)
    for one in held:
        if one["kind"] == "spending":
            farm.steer().spending(False)
        else:
            farm.steer().release(f"{one['kind']}:{one['name']}")


@pytest.mark.parametrize("what", ["pool:cloud", "spending"])
def test_a_closed_pool_comes_to_zero_and_back(new: Callable[..., Any], what: str) -> None:
    with new() as farm:
        job = farm.submit(array(40))
        while len(farm.gateway.running) < 4:
            farm.turn()
        farm.steer().hold(what) if what != "spending" else farm.steer().spending(True)
        for _ in range(30):
            farm.turn()
        assert (farm.machines(), farm.job(job)["tasks"]["done"]) == ([], 4)
        farm.restart()
        for _ in range(10):
            farm.turn(60)
        assert farm.machines() == []
        _let_go(farm)
        farm.run()
        assert farm.job(job)["state"] == "done"
        check(farm)


def test_a_drained_executor_ends_its_work_and_is_replaced(new: Callable[..., Any]) -> None:
    with new() as farm:
        job = farm.submit(array(20))
        while len(farm.gateway.running) < 4:
            farm.turn()
        first = sorted(farm.gateway.attached)[0]
        farm.steer().drain(first)
        farm.run()
        with farm.db.read() as tx:
            row = tx.execute(select(t.Executor).where(t.Executor.id == first)).one()
            lost = tx.execute(select(func.count()).where(t.Attempt.state != "succeeded")).scalar_one()
            all_of_them = tx.execute(select(func.count()).select_from(t.Executor)).scalar_one()
        assert (row.state, row.why, lost) == ("gone", "drained by eva", 0)
        assert all_of_them > 4
        assert farm.job(job)["state"] == "done"
        check(farm)


def _happen(farm: SimulatedFarm, step: str) -> None:
    if step == "break" and farm.machines():
        farm.break_down(farm.random.choice(farm.machines()))
    if step in ("gateway", "both"):
        farm.gateway.session += "'"
        farm.gateway.term = farm.gateway.received = 0
    if step in ("service", "both"):
        farm.restart()
    if step == "submit":
        farm.submit(array(farm.random.randint(1, 5)), lane=farm.random.choice(["interactive", "bulk"]))
    if step == "cancel":
        _cancel(farm)


def _cancel(farm: SimulatedFarm, ref: str = "1") -> None:
    from farm.queue.cancel import cancel
    from farm.reference import parse_reference
    from farm.refusal import Conflict

    with farm.db.write() as tx:
        try:
            done = cancel(tx, parse_reference(ref), farm.clock.now())
        except Conflict:
            return
    for _, attempt in done.attempts:
        farm.gateway.running.pop(attempt, None)


@pytest.mark.parametrize("away", [False, True], ids=["told in one breath", "service away"])
def test_the_last_results_of_executors_that_went_count(new, away: bool) -> None:
    with new() as farm:
        job = farm.submit(array(2))
        while len(farm.gateway.running) < 2:
            farm.turn()
        farm.clock.turn(60)
        farm.gateway._finish()
        farm.gateway.lost += farm.gateway.attached
        farm.cloud.end(farm.machines())
        farm.gateway.attached.clear()
        if away:
            farm.restart()
            farm.fleet.list_machines()
            reconcile(farm.fleet)
            farm.gateway.talk()
        farm.gateway.talk()
        assert farm.job(job)["tasks"]["done"] == 2
        farm.run()
        with farm.db.read() as tx:
            assert tx.execute(select(func.count()).select_from(t.Attempt)).scalar_one() == 2


def test_executors_that_ended_are_lost_in_the_end_though_no_gateway_comes(new) -> None:
    with new() as farm:
        farm.submit(array(2))
        while len(farm.gateway.running) < 2:
            farm.turn()
        ended = set(farm.machines())
        farm.cloud.end(ended)
        farm.restart()
        farm.fleet.list_machines()
        reconcile(farm.fleet)
        assert ended <= set(farm.alive())
        farm.clock.turn(20)
        reconcile(farm.fleet)
        assert not ended & set(farm.alive())
