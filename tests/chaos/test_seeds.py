"""The campaign's daily slice, with the seeds that the head of the report names (see tests/conftest.py)."""

import os

import pytest

from tests.chaos.campaign import again, run


@pytest.mark.timeout(500)  # one that is stuck says so by itself
@pytest.mark.parametrize("seed", os.environ["FARM_SEEDS"].split(","))
def test_nothing_is_lost_doubled_or_left(seed: str) -> None:
    database, _, number = seed.rpartition(":")
    outcome = run(int(number), database or "sqlite")
    assert outcome.findings == [], "\n".join([again(outcome), *outcome.faults, *outcome.findings])
