"""The campaign's daily slice, and what it has taught."""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.client import connect
from tests.chaos.campaign import run
from tests.chaos.ground import Ground, below, until

SEEDS = [int(s) for s in os.environ.get("FARM_SEEDS", "").split(",") if s]
SEEDS = SEEDS or [2 * secrets.randbelow(10**8) + parity for parity in (0, 1, 0, 1)]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_left(seed: int) -> None:
    outcome = run(seed)
    again = f"again: .venv/bin/python -m tests.chaos.campaign --seed {seed}"
    assert outcome.findings == [], "\n".join([again, *outcome.faults, *outcome.findings])


@pytest.fixture(params=["plain", "ray"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path / "home", request.param, 2)
    yield made
    made.down()
    assert made.leftovers() == []


def submit(ground: Ground, tasks: int, seconds: float) -> int:
    argv = ["sh", "-c", f"echo begin; sleep {seconds}; echo end"]
    step = {"name": "main", "argv": argv, "array": {"first": 1, "last": tasks, "step": 1}}
    with connect(ground.home) as client:
        return int(client.post("/v1/jobs", {"name": "x", "owner": "x", "steps": [step]})["id"])


@pytest.mark.parametrize("ground", ["plain"], indirect=True)
def test_two_farm_up_at_once_are_one_farm(ground: Ground) -> None:
    both = [ground.shell.start("up") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(ground.of("service")) == 1


def test_a_frozen_executor_is_replaced(ground: Ground) -> None:
    """All its processes stop: nothing ends, nothing answers. Measured: see benchmarks/results/faults.json."""
    ground.up()
    job = submit(ground, 2, 3)
    until(lambda: len(ground.ready()) == 2, 60, "two executors are ready")
    frozen = until(lambda: ground.of("executor"), 30, "it is named")[0]
    tree = [frozen, *below(frozen)]
    for process in tree:
        process.signal(signal.SIGSTOP)
    began = time.monotonic()
    before = set(ground.ready())
    until(lambda: set(ground.ready()) - before, 60, "another executor is ready")
    print(f"replaced after {time.monotonic() - began:.1f} s")  # noqa: T201 - read by whoever measures
    until(lambda: (ground.get(f"/v1/jobs/{job}") or {}).get("state") == "done", 60, "its task ran elsewhere")
    until(lambda: not any(process.alive() for process in tree), 60, "the frozen one was ended")
