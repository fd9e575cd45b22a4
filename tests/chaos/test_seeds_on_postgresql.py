"""The same on PostgreSQL; a file of its own, because files run beside each other."""

import pytest

from tests.chaos.campaign import again, run
from tests.conftest import seeds


@pytest.mark.timeout(500)
@pytest.mark.parametrize("seed", seeds("postgresql"))
def test_nothing_is_lost_doubled_or_left(seed: int) -> None:
    outcome = run(seed, "postgresql")
    assert outcome.findings == [], "\n".join([again(outcome), *outcome.faults, *outcome.findings])
