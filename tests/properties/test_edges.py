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
