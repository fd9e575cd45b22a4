"""The daily slice of the campaign of all kinds: one run each, with a seed of the report's head (see docs/faults.md)."""

import os
from collections.abc import Iterator

import pytest

from tests.chaos.elsewhere.lane import KINDS, Lane

pytestmark = pytest.mark.timeout(900)  # one that is stuck says so by itself


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    with Lane() as made:
        yield made


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "simulated"])
def test_nothing_is_lost_doubled_or_left(lane: Lane, kind: str) -> None:
    seed = 4 * len(KINDS) * int(os.environ["FARM_SEEDS"].split(",")[0]) + KINDS.index(kind)
    outcome = lane.run(seed)
    again = f"again: .venv/bin/python -m tests.chaos.elsewhere --seed {seed}"
    assert (outcome.kind, outcome.findings) == (kind, []), "\n".join([again, *outcome.faults, *outcome.findings])
