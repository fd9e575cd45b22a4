"""What tasks are expected to take: learned by name and shape of executor, a prior before that, told with its spread."""

import math
import random

import pytest
from sqlalchemy import insert

from farm import expected
from farm import tables as t
from farm.cli import moments
from farm.clock import micros
from farm.model import Item, StepSpec
from farm.queue import predict
from farm.reference import parse_reference
from tests.contract.queue_farm import QueueFarm

ONE = StepSpec(argv=("x",))


def ran(farm: QueueFarm, took: float, executor: str = "e1", step: StepSpec = ONE) -> int:
    """A job of which every task took so long."""
    job = farm.submit(step)
    works = farm.claim(9, executor)
    farm.finish(works, executor, started=micros(farm.clock.now()) * 1000 - int((took - 1) * 1e9))
    return job


def executor(farm: QueueFarm, name: str, pool: str, slots: int = 4) -> None:
    with farm.db.write() as tx:
        now = farm.clock.now()
        facts = {"order": "o", "site": "s", "state": "ready", "price_nano": 0, "why": ""}
        times = {"ordered": now, "launched": now, "billed_until": now}
        tx.execute(insert(t.Executor), [{"id": name, "pool": pool, "slots": slots, **facts, **times}])


def of_task(farm: QueueFarm, ref: str) -> dict[str, object]:
    with farm.db.read() as tx:
        return expected.of_task(tx, parse_reference(ref))


def test_what_never_ran_takes_the_prior(farm: QueueFarm) -> None:
    found = of_task(farm, f"{farm.submit(ONE)}.1")
    assert (found["planned_s"], found["seconds"], found["runs"]) == (predict.PRIOR_S, predict.PRIOR_S, 0)
    assert (found["low"], found["high"]) == (pytest.approx(16.7, abs=0.1), pytest.approx(215.8, abs=0.1))
    assert moments.expected(found) == "1 min, a guess: it has not run before"


def test_what_ran_is_expected_to_take_as_long_within_a_spread_that_shrinks(farm: QueueFarm) -> None:
    spreads = []
    for _ in range(4):
        ran(farm, 30)
        found = of_task(farm, f"{farm.submit(ONE)}.1")
        assert found["seconds"] == pytest.approx(30)
        spreads.append(found["high"] / found["low"])  # type: ignore[operator]
        farm.claim(9)
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 4
    short = {**found, "planned_s": 0.0021, "seconds": 0.0021, "low": 0.001, "high": 0.05}
    assert moments.expected(short) == "2.1 ms; by now 2.1 ms, 1 ms to 50 ms in four of five, after 4 runs"
    assert "4 runs" in moments.expected(found)


def test_each_shape_of_executor_has_its_own_and_a_new_one_has_that_of_all(farm: QueueFarm) -> None:
    for name, pool in (("e1", "arm"), ("e2", "intel"), ("e3", "new")):
        executor(farm, name, pool)
    for _ in range(3):
        ran(farm, 100, "e1")
        ran(farm, 20, "e2")
    job = farm.submit(StepSpec(argv=("x",), array={"first": 1, "last": 3}))
    for name in ("e1", "e2", "e3"):
        farm.claim(1, name)
    arm, intel, new = (of_task(farm, f"{job}.{n}") for n in (1, 2, 3))
    assert (arm["seconds"], arm["shape"], arm["runs"]) == (pytest.approx(100), "arm/4", 3)
    assert (intel["seconds"], intel["runs"]) == (pytest.approx(20), 3)
    assert 20 < float(str(new["seconds"])) < 100
    assert new["runs"] == 6


def test_after_five_runs_a_prediction_is_off_by_less_than_a_third(farm: QueueFarm) -> None:
    """Durations that scatter by a quarter around what they are."""
    chance, off = random.Random(7), []
    for n in range(40):
        true = 10 ** chance.uniform(0, 3)
        with farm.db.write() as tx:
            for _ in range(5):
                predict.learn(tx, {(f"n{n}", "e1"): true * math.exp(chance.gauss(0, 0.25))})
            off.append(abs(predict.seconds(tx, f"n{n}") / true - 1))
    assert sum(off) / len(off) <= 0.3


def test_a_batch_of_many_names_is_learned(farm: QueueFarm) -> None:
    with farm.db.write() as tx:
        predict.learn(tx, {(f"n{n}", "e1"): n + 1.0 for n in range(2500)})
        found = predict.several(tx, (f"n{n}" for n in range(2500)))
        predict.learn(tx, {})
    assert len(found) == 2500
    assert found["n41"] == pytest.approx(42)


def test_a_job_says_it_of_each_step_and_a_campaign_of_what_is_behind(farm: QueueFarm) -> None:
    items = (Item(name="a", argv=("b",)), Item(name="b", argv=("b",), after=("a",)))
    job = farm.submit(StepSpec(items=items, predicted_s=50), StepSpec(name="end", argv=("x",), predicted_s=4))
    with farm.db.read() as tx:
        steps = {step["step"]: step["planned_s"] for step in expected.of_job(tx, job)}
        numbers = expected.numbers(tx, job, "main")
    assert steps == {"main": 50, "end": 4}
    assert numbers == {"predicted_s": 60.0, "between_s": [16.7, 216.0], "runs": 0}
    assert moments.expected(of_task(farm, f"{job}.1")).endswith("; 1 min 40 s with all behind it")
    assert of_task(farm, f"{job}.3")["path_s"] is None
