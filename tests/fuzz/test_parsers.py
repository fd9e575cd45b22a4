"""Every parser: whatever it is given, it answers or refuses by name, and soon."""

import gzip
import importlib
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from farm.durations import UNITS, parse_duration
from farm.reference import parse_reference
from farm.refusal import Refusal
from farm.sizes import parse_size
from farm.workloads.render import scene
from farm.workloads.render.frames import parse_frames, to_ranges

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


def test_a_scene_that_was_packed_very_small_is_not_unpacked_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(scene, "MOST_BYTES", 1 << 20)
    path = tmp_path / "bomb.pov.gz"
    path.write_bytes(gzip.compress(b" " * (2 << 20)))
    with pytest.raises(Refusal, match="too large for a scene"):
        scene.read_scene(path)


@pytest.mark.parametrize("text", ["/*" * 200_000, '\\"' * 200_000, '"' * 200_001, "//" * 200_000, "/*/" * 100_000])
def test_openings_without_end_are_read_once(text, tmp_path):
    began = time.monotonic()
    scene.files_read(tmp_path / "s.pov", text)
    with pytest.raises(Refusal):
        scene.turntable(text)
    assert time.monotonic() - began < SOON_S


@settings(deadline=None)
@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=40))
def test_frames_come_back_from_the_text_of_their_ranges(frames):
    ranges = to_ranges(tuple(sorted(frames)))
    text = ",".join(f"{run.first}-{run.last}:{run.step}" for run in ranges)
    assert set(parse_frames(text)) == frames


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_is_what_it_says(number, unit):
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * UNITS[unit])


@settings(deadline=None)
@given(st.integers(1, 10**9), st.sampled_from(["", "K", "MiB", "gb"]))
def test_a_size_is_what_it_says(number, unit):
    assert parse_size(f"{number}{unit}") == number * 1024 ** {"": 0, "K": 1, "MiB": 2, "gb": 3}[unit]


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**17), min_size=1, max_size=3))
def test_a_reference_is_what_it_says(numbers):
    assert [part for part in parse_reference(".".join(map(str, numbers))) if part is not None] == numbers
