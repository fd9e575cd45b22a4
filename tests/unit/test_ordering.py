"""Due dates, fair turns between lanes, and the order of an array's positions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.model import Lane
from schedules.ordering import PRIORITY_STEP, Turn, charge, due, ends_first, linear, next_lane, wait_target, wake

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEFAULT = Lane("default", 2, 0.5, 120 * SECOND, 900 * SECOND)


@pytest.mark.parametrize(("predicted", "wait"), [(0, 120), (240, 120), (600, 300), (1800, 900), (86400, 900)])
def test_the_wait_target_is_a_share_of_the_length_within_bounds(predicted, wait):
    assert wait_target(DEFAULT, predicted * SECOND) == wait * SECOND


def test_an_interactive_task_is_due_when_it_arrives():
    assert due(NOON, 600 * SECOND, Lane("interactive")) == NOON


@pytest.mark.parametrize(("priority", "points"), [(0, 0), (10, 10), (-10, -10), (1000, 100), (-1000, -100)])
def test_priority_shifts_the_due_date_by_a_bounded_amount(priority, points):
    assert due(NOON, SECOND, Lane("interactive"), priority) == NOON - points * PRIORITY_STEP


def test_the_least_urgent_task_is_overtaken_by_no_task_of_its_lane_that_comes_a_day_later():
    unimportant = due(NOON, 86400 * SECOND, DEFAULT, -100)
    assert unimportant < due(NOON + timedelta(days=1), SECOND, DEFAULT, 100)


@pytest.mark.parametrize(
    ("n", "order"),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 2]),
        (4, [0, 1, 3, 2]),
        (5, [0, 2, 4, 1, 3]),
        (8, [0, 3, 7, 1, 2, 4, 5, 6]),
    ],
)
def test_the_ends_come_first(n, order):
    assert [ends_first(k, n) for k in range(n)] == order


@given(st.integers(1, 2000))
@settings(max_examples=50, deadline=None)
def test_every_position_comes_exactly_once(n):
    assert sorted(ends_first(k, n) for k in range(n)) == list(range(n))
    assert [linear(k, n) for k in range(n)] == list(range(n))


@given(st.integers(3, 10**12), st.data())
def test_a_huge_range_starts_with_first_middle_last(n, data):
    assert (ends_first(0, n), ends_first(1, n), ends_first(2, n)) == (0, (n - 1) // 2, n - 1)
    k = data.draw(st.integers(3, n - 1)) if n > 3 else 2
    assert 0 <= ends_first(k, n) < n


@pytest.mark.parametrize("position", [-1, 3])
@pytest.mark.parametrize("order", [linear, ends_first])
def test_a_position_outside_the_range_is_an_error(order, position):
    with pytest.raises(ValueError, match="range of 3"):
        order(position, 3)


def test_no_lane_no_turn():
    assert next_lane([]) is None


def test_at_equal_virtual_time_the_heavier_lane_goes_first():
    assert next_lane([Turn("bulk", 5.0, 1), Turn("interactive", 5.0, 4)]) == "interactive"


def test_a_lane_that_wakes_cannot_cash_in_its_sleep():
    assert wake(3.0, [Turn("bulk", 100.0), Turn("default", 90.0)]) == 90.0
    assert wake(95.0, [Turn("default", 90.0)]) == 95.0
    assert wake(3.0, []) == 3.0


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 500)), min_size=2, max_size=4), st.integers(1, 300)
)
def test_backlogged_lanes_get_their_weight_within_one_task_each(lanes, rounds):
    """Start-time fair queueing (Goyal 1996): |work/weight| of two backlogged lanes differs by ≤ one task of each."""
    turns = {str(i): Turn(str(i), 0.0, weight) for i, (weight, _) in enumerate(lanes)}
    for _ in range(rounds):
        name = next_lane(turns.values())
        turn = turns[name]
        turns[name] = Turn(name, charge(turn, lanes[int(name)][1] * SECOND), turn.weight)
    longest = [task / weight for weight, task in lanes]
    served = [turns[str(i)].virtual for i in range(len(lanes))]
    pairs = [(i, j) for i in range(len(lanes)) for j in range(i)]
    assert all(abs(served[i] - served[j]) <= longest[i] + longest[j] + 1e-9 for i, j in pairs)
