"""Whatever needs what, no executor gives more than it has, nothing waits beside what it could have, and a large task is
not overtaken for ever."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm.queue.room import Room, Rooms
from schedules.needs import Amounts, Needs, Offer, lacking, meets, more, portions, times

kinds = st.dictionaries(st.sampled_from(["fpga", "gpus", "memory"]), st.integers(1, 4))
amounts = kinds.map(lambda found: tuple(sorted(found.items())))
conditions = st.lists(st.sampled_from(["os=a", "os!=a", "os", "!os", "ssd=y", "!ssd"]), max_size=2).map(tuple)
labels = st.dictionaries(st.sampled_from(["os", "ssd"]), st.sampled_from(["a", "b", "y"])).map(
    lambda found: tuple(sorted(found.items()))
)
needs = st.builds(Needs, st.integers(1, 4), amounts, conditions)
offers = st.builds(Offer, amounts, labels)
rooms = st.lists(st.tuples(st.integers(1, 6), offers), min_size=1, max_size=4)


def made(told: Sequence[tuple[int, Offer]]) -> list[Room]:
    return [Room(f"e{n}", slots, 0, offer=offer) for n, (slots, offer) in enumerate(told)]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rooms, st.lists(st.tuples(needs, st.booleans()), max_size=20))
def test_no_room_gives_more_than_it_has_and_none_that_could_give_stays_idle(
    told: list[tuple[int, Offer]], wanted: list[tuple[Needs, bool]]
) -> None:
    found = Rooms.of(made(told))
    for number, (each, late) in enumerate(wanted):
        best = found.best(each)
        if best:
            best[0].begin(each, 1)
        else:
            assert not any(room.takes(each) for room in found.open)
            if late:
                found.reserve(("lane", str(number)), number, each, ())
    for room in found.open:
        has = dict(room.offer.amounts)
        kept = [k for k in found.asides.values() if k.executor == room.executor]
        assert room.taken <= room.slots
        assert room.aside == sum(k.slots for k in kept)
        assert kept or all(n <= has.get(name, n if name == "memory" else 0) for name, n in room.used.items())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(needs, offers, st.integers(0, 6))
def test_what_nothing_is_lacking_for_fits_into_an_empty_executor(each: Needs, offer: Offer, slots: int) -> None:
    assert (times(each, offer, slots, {}) > 0) == (slots >= each.slots and not lacking(each, offer))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(amounts, amounts, st.integers(0, 3))
def test_what_was_taken_and_given_back_is_there_again(there: Amounts, each: Amounts, n: int) -> None:
    most = portions(each, there)
    if most is not None and n <= most:
        counted = tuple((name, many) for name, many in each if name in dict(there))
        assert more(more(there, counted, -n), counted, n) == there


def test_conditions_on_labels() -> None:
    has = {"arch": "arm64", "ssd": ""}
    true = ("arch=arm64", "arch!=amd64", "arch", "ssd", "!gpu", "zone!=a", "ssd=")
    false = ("arch=amd64", "arch!=arm64", "!arch", "gpu", "zone=a")
    assert [meets(one, has) for one in (*true, *false)] == [True] * len(true) + [False] * len(false)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 4), st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_a_task_that_needs_all_begins_while_small_ones_never_stop_coming(gpus: int, ends: list[int]) -> None:
    """One small task ends at a time, and two more come; the large one has a room kept, claim after claim."""
    large, small = Needs(1, (("gpus", gpus),)), Needs(1, (("gpus", 1),))
    running = [1] * gpus  # on one room
    for end in ends:
        if running:
            running.pop(end % len(running))
        room = Room("e", 8, len(running), offer=Offer((("gpus", gpus),)), used={"gpus": len(running)})
        found = Rooms.of([room])
        if found.best(large):
            return
        found.reserve(("lane", "ada"), 1, large, ())
        while best := found.best(small):
            best[0].begin(small, 1)
            running.append(1)
    raise AssertionError("the large task never began")
