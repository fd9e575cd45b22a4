"""Who takes the next task is found without looking at all who are full."""

from dataclasses import dataclass

from farm.queue.room import Room, Rooms

LOOKS = 0


@dataclass(slots=True)
class Watched(Room):
    def fits(self, slots: int, depth: int) -> int:
        global LOOKS
        LOOKS += 1
        return Room.fits(self, slots, depth)


def test_a_room_that_is_full_is_looked_at_once():
    rooms = Rooms.of([Watched(f"e{n}", 1, 0) for n in range(300)])
    before = LOOKS
    given = []
    while rooms.any_free:
        room = rooms.may(1, 0)[0]
        room.take(1, 0)
        given.append(room.executor)
    assert given == [f"e{n}" for n in range(300)]
    assert LOOKS - before < 5 * 300


def test_a_room_that_has_no_place_for_a_large_task_has_one_for_a_small():
    small, large = Room("small", 1, 0), Room("large", 4, 1)
    rooms = Rooms.of([small, large])
    assert rooms.may(2, 0)[0] is large
    assert rooms.may(1, 0)[0] is small
    small.take(1, 3)
    assert rooms.may(1, 0)[0] is large
    assert rooms.may(1, 2)[0] is small


def test_none_is_passed_over_when_one_before_it_is_kept():
    rooms = Rooms.of([Room("a", 2, 2), Room("b", 2, 1), Room("c", 1, 0)])
    assert rooms.may(1, 0)[0].executor == "b"
    rooms.keep(("lane", "ada"), 1, 2, ())
    assert [room.executor for room in rooms.may(1, 0)] == [r.executor for r in rooms.open if r.fits(1, 0)]
