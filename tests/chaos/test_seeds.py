"""The campaign's daily slice, with the seeds that the head of the report names (see tests/conftest.py)."""

import pytest

from tests.chaos.campaign import again, run
from tests.conftest import seeds


@pytest.mark.timeout(500)  # one that is stuck says so by itself
@pytest.mark.parametrize("seed", seeds("sqlite"))
def test_nothing_is_lost_doubled_or_left(seed: int) -> None:
    outcome = run(seed, "sqlite")
    assert outcome.findings == [], "\n".join([again(outcome), *outcome.faults, *outcome.findings])
