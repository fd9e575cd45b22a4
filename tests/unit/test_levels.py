"""Dependencies among items: levels, whatever their shape, and a cycle by its names."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.model import Item
from farm.queue.submit import levels
from farm.refusal import Refusal


def items(after):
    return [Item(name=name, argv=("x",), after=tuple(before)) for name, before in after.items()]


def test_a_chain_of_a_hundred_thousand_takes_seconds():
    chain = items({f"i{n}": [f"i{n - 1}"] if n else [] for n in range(100_000)})
    began = time.monotonic()
    assert levels(chain) == [[f"i{n}"] for n in range(100_000)]
    assert time.monotonic() - began < 60, "once it was minutes"


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 30), st.sets(st.integers(0, 30)), max_size=20))
def test_every_item_stands_above_all_it_comes_after(edges):
    after = {f"i{n}": sorted(f"i{b}" for b in before if b < n and b in edges) for n, before in edges.items()}
    place = {name: level for level, names in enumerate(levels(items(after))) for name in names}
    assert set(place) == set(after)
    assert all(place[name] == max((place[b] + 1 for b in before), default=0) for name, before in after.items())


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 5))
def test_a_cycle_is_told_by_its_own_names(long, before):
    ring = {f"c{n:02}": [f"c{(n + 1) % long:02}"] for n in range(long)}
    free = {f"a{n}": [] for n in range(before)} | {"z": ["c00"]}
    with pytest.raises(Refusal, match="form a cycle") as refused:
        levels(items({**free, **ring}))
    named = refused.value.what.partition(": ")[2].split(" → ")
    assert named[0] == named[-1]
    assert "z" not in named
    assert (f"({long} in all)" in refused.value.what) == (long + 1 > 10)
