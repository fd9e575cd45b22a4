"""A fresh bench for each test that asks for one: machines of one test never see those of another."""

from collections.abc import Iterator

import pytest

from tests.machines.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench
