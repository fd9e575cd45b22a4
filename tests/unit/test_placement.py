"""The closed form against list scheduling one task at a time, and its answers in small cases."""

import heapq

from hypothesis import given, settings
from hypothesis import strategies as st

from schedules.demand import SHORTEST, Row, limit, packed
from schedules.placement import Room, free, merged, take

S = 1_000_000  # µs


def row(count, predicted=10 * S, slots=1, due=0):
    return Row(count, due, predicted, slots, "1")


def starts_of(rooms, tasks, until):
    """List scheduling, one slot and one task at a time: (free times afterwards, tasks without a slot)."""
    heap = [(room.at, room.certain) for room in rooms for _ in range(room.slots * room.copies)]
    late = sorted(slot for slot in heap if slot[0] > until)
    heap = [slot for slot in heap if slot[0] <= until]
    heapq.heapify(heap)
    left = tasks.count
    while left and heap and heap[0][0] <= until:
        at, _ = heapq.heappop(heap)
        heapq.heappush(heap, (at + tasks.predicted, False))
        left -= 1
    for place, (at, certain) in enumerate(late):
        if left and certain:
            late[place] = (at + tasks.predicted, False)
            left -= 1
    return sorted([*heap, *late]), left


def slots_of(rooms):
    return sorted((room.at, room.certain) for room in rooms for _ in range(room.slots * room.copies))


ROOMS = st.lists(
    st.builds(Room, st.integers(0, 40).map(S.__mul__), st.integers(1, 3), st.integers(1, 3), st.booleans()), max_size=6
).map(merged)


@given(ROOMS, st.integers(1, 60), st.integers(1, 15), st.integers(0, 50))
@settings(max_examples=300, deadline=None)
def test_it_is_list_scheduling_for_tasks_of_one_slot(rooms, count, seconds, until):
    tasks = row(count, seconds * S)
    after, left = take(rooms, tasks, until * S)
    slots, expected = starts_of(rooms, tasks, until * S)
    assert left == expected
    assert [at for at, _ in slots_of(after)] == [at for at, _ in slots]


@given(ROOMS, st.integers(1, 30), st.integers(1, 4), st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_slots_are_neither_made_nor_lost_and_only_get_later(rooms, count, slots, until):
    after, left = take(rooms, row(count, slots=slots), until * S)
    assert 0 <= left <= count
    assert len(slots_of(after)) == len(slots_of(rooms))
    assert all(a >= b for (a, _), (b, _) in zip(slots_of(after), slots_of(rooms), strict=True))


def test_a_task_of_two_slots_needs_them_on_one_executor():
    assert take([Room(0, 1, 8, True)], row(1, slots=2), 0)[1] == 1
    assert take([Room(0, 2, 1, True)], row(1, slots=2), 0) == ([Room(10 * S, 2, 1, False)], 0)


def test_slots_left_over_stay_free():
    after, left = take([Room(0, 5, 1, True)], row(2, slots=2), 0)
    assert (after, left) == ([Room(0, 1, 1, True), Room(10 * S, 4, 1, False)], 0)


def test_an_expected_slot_after_the_limit_serves_nothing_a_certain_one_serves_one():
    assert take([Room(5 * S, 1, 1, False)], row(3), 4 * S)[1] == 3
    assert take([Room(5 * S, 1, 1, True)], row(3), 4 * S)[1] == 2


def test_a_billion_tasks_are_one_question():
    after, left = take([Room(0, 1, 4, True)], row(10**9, SHORTEST), 10 * S)
    assert left == 10**9 - 4 * 10_001
    assert free(after, 10 * S) == 0


def test_the_limit_before_the_due_date_is_that_date_or_what_a_new_machine_could_reach():
    assert limit(300 * S, 60 * S) == 300 * S
    assert limit(10 * S, 60 * S) == 70 * S
    assert limit(0, 60 * S) == 70 * S
    assert packed(0, 60 * S) == 65 * S


def test_after_it_the_promise_does_not_move():
    assert limit(-10 * S, 60 * S) == 60 * S
    assert limit(-64 * S, 60 * S) == 10 * S
    assert limit(-600 * S, 60 * S) == 10 * S
