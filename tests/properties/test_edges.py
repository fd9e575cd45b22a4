"""A window's edge drains; it never ends a running task, whatever the window then allows."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from executors.simulated import SimulatedOptions
from farm import tables as t
from farm.config import FarmConfig
from farm.model import Range, StepSpec
from tests.properties.simulated_farm import SimulatedFarm

POOL = {"provider": "simulated", "price_per_hour": "0.36", "ceiling": 4, "boot": 5, "idle": 10}


@pytest.fixture
def new(tmp_path: Path, empty: Path) -> Callable[..., Any]:
    @contextmanager
    def make(*windows: Any) -> Iterator[SimulatedFarm]:
        path = Path(shutil.copy(empty, tmp_path / "farm.db"))
        config = FarmConfig.model_validate({"pools": {"cloud": POOL}, "schedules": windows})
        farm = SimulatedFarm(path, config, SimulatedOptions(boot_s=5, ceiling=4))
        yield farm
        farm.db.close()
        for leftover in tmp_path.glob("farm.db*"):
            leftover.unlink()

    return make


def array(last: int) -> StepSpec:
    return StepSpec(argv=("x", "{index}"), array=Range(first=1, last=last))


@st.composite
def openings(draw: st.DrawFn) -> dict[str, Any]:
    """Minutes after 12:00 UTC, which is when these farms begin."""
    first = draw(st.integers(0, 8))
    last = draw(st.integers(first + 1, 12))
    said = {"ceiling": draw(st.integers(0, 3)), "floor": 0}
    zone, hour = draw(st.sampled_from([("UTC", 12), ("Europe/Berlin", 13), ("Asia/Kolkata", 17)]))
    half = 30 if zone == "Asia/Kolkata" else 0
    hours = f"{hour}:{half + first:02}-{hour}:{half + last:02}"
    return {"name": f"w{first}-{last}", "zone": zone, "hours": hours, "pools": {"cloud": said}}


def ends(farm: SimulatedFarm) -> list[tuple[str, int]]:
    with farm.db.read() as tx:
        return [(row.state, row.ordinal) for row in tx.execute(select(t.Attempt))]


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(window=openings(), seconds=st.integers(1, 200), tasks=st.integers(1, 8))
def test_every_attempt_goes_on_to_its_end(
    new: Callable[..., Any], window: dict[str, Any], seconds: int, tasks: int
) -> None:
    with new(window) as farm:
        farm.duration = lambda _work: float(seconds)
        farm.submit(array(tasks))
        busy: set[str] = set()

        def each() -> None:
            still = {executor for executor, _, _ in farm.gateway.running.values()}
            assert still <= set(farm.machines())
            busy.update(still)

        farm.run(each=each)
        assert busy
        assert ends(farm) == [("succeeded", 1)] * tasks  # none was lost, none went twice


def test_an_edge_drains_what_is_too_much(new: Callable[..., Any]) -> None:
    with new({"name": "night", "hours": "12:01-12:20", "pools": {"cloud": {"ceiling": 1}}}) as farm:
        farm.duration = lambda _work: 300.0
        farm.submit(array(4))
        for _ in range(50):
            farm.turn()
        assert len(farm.gateway.running) == 4
        for _ in range(30):
            farm.turn()
        assert len(farm.gateway.running) == 4
        with farm.db.read() as tx:
            states = [row.state for row in tx.execute(select(t.Executor))]
        assert sorted(states) == ["draining"] * 3 + ["ready"]
        farm.submit(array(1))
        farm.run()
        assert ends(farm) == [("succeeded", 1)] * 5


def turns(farm: SimulatedFarm, seconds: int) -> set[int]:
    """The jobs that were seen running meanwhile."""
    seen: set[int] = set()
    for _ in range(seconds // 5):
        farm.turn(5)
        seen |= {int(attempt.split(".")[0]) for attempt in farm.gateway.running}
    return seen


def test_a_closed_lane_begins_when_it_opens_and_others_do_not_wait_for_it(new: Callable[..., Any]) -> None:
    day = {"name": "day", "hours": "12:00-12:03", "lanes_open": ["interactive", "default"]}
    with new(day) as farm:
        farm.duration = lambda _work: 20.0
        bulk = farm.submit(array(1), lane="bulk")
        other = farm.submit(array(1))
        assert turns(farm, 175) == {other}
        assert (farm.machines(), farm.gateway.running) == ([], {})  # nobody is ordered or kept for what may not begin
        assert turns(farm, 60) == {bulk}
        farm.run()
        assert ends(farm) == [("succeeded", 1)] * 2


def test_what_runs_in_a_lane_that_closes_goes_on_to_its_end(new: Callable[..., Any]) -> None:
    night = {"name": "night", "hours": "12:01-12:05", "lanes_open": []}
    with new(night) as farm:
        farm.duration = lambda _work: 100.0
        farm.submit(array(5))
        turns(farm, 90)
        assert len(farm.gateway.running) == 4
        turns(farm, 60)
        assert not farm.gateway.running  # the fifth waits for the morning
        farm.run()
        assert ends(farm) == [("succeeded", 1)] * 5


@pytest.mark.parametrize("said", [{"pools_allowed": []}, {"price_cap": "0.1"}])
def test_a_pool_that_is_closed_orders_nothing_until_it_opens(new: Callable[..., Any], said: dict[str, Any]) -> None:
    with new({"name": "day", "hours": "12:00-12:02", **said}) as farm:
        farm.submit(array(1))
        turns(farm, 115)
        assert farm.machines() == []
        turns(farm, 15)
        assert len(farm.machines()) == 1


def test_a_pool_that_closes_drains(new: Callable[..., Any]) -> None:
    with new({"name": "late", "hours": "12:01-12:30", "pools_allowed": []}) as farm:
        farm.duration = lambda _work: 100.0
        farm.submit(array(2))
        turns(farm, 75)
        with farm.db.read() as tx:
            found = [(row.state, row.why) for row in tx.execute(select(t.Executor)) if row.state != "gone"]
        assert found == [("draining", "window late allows no pool and not pool cloud")] * 2
        assert len(farm.gateway.running) == 2
        farm.run()
        assert ends(farm) == [("succeeded", 1)] * 2


def test_an_idle_target_follows_those_that_work(new: Callable[..., Any]) -> None:
    with new({"name": "day", "hours": "12:00-12:04", "pools": {"cloud": {"idle_target": 1}}}) as farm:
        farm.duration = lambda _work: 60.0
        turns(farm, 20)
        assert len(farm.machines()) == 1
        farm.submit(array(2))
        turns(farm, 30)
        assert (len(farm.gateway.running), len(farm.machines())) == (2, 3)
        turns(farm, 120)
        assert len(farm.machines()) == 1
        turns(farm, 100)  # the window's edge lets it go
        assert farm.machines() == []
