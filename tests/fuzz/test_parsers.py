"""Every parser: whatever it is given, it answers or refuses by name, and soon."""

import importlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
TARGETS = sorted(path.stem for path in (HERE / "targets").glob("[a-z]*.py"))
SEED = int(os.environ.get("FARM_SEED", 0)) or int.from_bytes(os.urandom(4))
COUNT = int(os.environ.get("FARM_FUZZ_EXAMPLES", 150))
SOON_S = 20  # on a busy machine; what is not linear takes hours


def module(name):
    return importlib.import_module(f"tests.fuzz.targets.{name}")


def soon(target, data):
    began = time.monotonic()
    target(data)
    assert time.monotonic() - began < SOON_S


@pytest.mark.parametrize("name", TARGETS)
def test_anything(name):
    pieces = st.one_of(st.sampled_from(module(name).TOKENS), st.text(max_size=5))
    texts = st.lists(pieces, max_size=20).map(lambda some: "".join(some).encode())

    @seed(SEED)
    @settings(max_examples=COUNT, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(texts, st.binary(max_size=200)))
    def check(data):
        soon(module(name).target, data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_before(name):
    corpus = sorted((HERE / "corpus" / name).iterdir())
    assert corpus, "some files to start from"
    for path in corpus:
        soon(module(name).target, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("times", [20_000])
def test_a_lot_of_one_thing_takes_no_longer_than_its_size(name, times):
    for token in module(name).TOKENS:
        soon(module(name).target, token.encode() * max(1, times // len(token)))
