"""The campaign's daily slice, with the seeds that the head of the report names (see tests/conftest.py)."""

import os

import pytest

from tests.chaos.campaign import run


@pytest.mark.timeout(500)  # one that is stuck says so by itself
@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ["FARM_SEEDS"].split(",")])
def test_nothing_is_lost_doubled_or_left(seed: int) -> None:
    outcome = run(seed)
    again = f"again: .venv/bin/python -m tests.chaos.campaign --seed {seed}"
    assert outcome.findings == [], "\n".join([again, *outcome.faults, *outcome.findings])
