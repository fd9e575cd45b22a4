import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.refusal import Refusal
from farm.workloads.render.frames import parse_frames, to_ranges


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", (7,)),
        ("0", (0,)),
        ("1-4", (1, 2, 3, 4)),
        ("1-9:4", (1, 5, 9)),
        ("1-10:4", (1, 5, 9)),
        ("1-3,20", (1, 2, 3, 20)),
        (" 20 , 1-3 ", (1, 2, 3, 20)),
        ("1-3,2-4", (1, 2, 3, 4)),
    ],
)
def test_frames_are_read_in_rising_order_each_once(text, frames):
    assert parse_frames(text) == frames


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no frames were named"),
        ("1,,2", "between two commas"),
        ("one", "'one' is no frame"),
        ("-3", "'-3' is no frame"),
        ("1.5", "is no frame"),
        ("9-3", "write 3-9"),
        ("1-9:0", "steps of nothing"),
        ("٣", "is no frame"),
        ("1-99999999", "more than 1,000,000"),
    ],
)
def test_nonsense_is_refused_with_what_to_type(text, said):
    with pytest.raises(Refusal) as refused:
        parse_frames(text)
    assert said in str(refused.value)
    assert refused.value.where == "--frames"
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("7", ["7-7:1"]),
        ("1-240:2", ["1-239:2"]),
        ("1-10,20", ["1-10:1", "20-20:1"]),
        ("1,2,3,10,12,14", ["1-3:1", "10-14:2"]),
        ("1,5", ["1-5:4"]),
        ("1,5,6,7", ["1-1:1", "5-7:1"]),
    ],
)
def test_regular_frames_become_one_run(text, runs):
    assert [f"{run.first}-{run.last}:{run.step}" for run in to_ranges(parse_frames(text))] == runs


@given(st.frozensets(st.integers(0, 60), min_size=1))
def test_runs_hold_exactly_the_frames(chosen):
    frames = tuple(sorted(chosen))
    runs = to_ranges(frames)
    assert [run.at(i) for run in runs for i in range(len(run))] == list(frames)
