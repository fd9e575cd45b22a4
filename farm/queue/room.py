"""Executors that take work: how much goes where, and which is kept free for a task that needs several slots."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

MOST_KEPT = 16  # rooms that are kept in one claim, at most half of all


@dataclass(slots=True)
class Room:
    """An executor that takes work."""

    executor: str
    slots: int
    taken: int  # slots of attempts it already has, waiting ones included
    held: int = 0  # slots among those whose attempts are not short: nothing waits behind them

    def fits(self, slots: int, depth: int) -> int:
        """How many tasks of this size it takes now: into free slots, and `depth` short ones behind each short one."""
        if slots > self.slots:
            return 0
        ahead = depth * max(0, self.slots - self.held) if slots == 1 else 0
        return max(0, (self.slots + ahead - self.taken) // slots)

    def take(self, slots: int, depth: int) -> None:
        self.taken += slots
        self.held += 0 if depth else slots


@dataclass(frozen=True, slots=True)
class Kept:
    """A room that drains for a task of `job` that needs `slots` of it at once."""

    executor: str
    slots: int
    job: int


@dataclass(slots=True)
class Rooms:
    """What one claim fills. A room that is kept gets nothing in this claim, so that it drains. Nothing of that is
    stored: the next claim finds the same room most free, and keeps it again."""

    open: list[Room]
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)  # by lane and owner
    most: int = 0
    _full: dict[tuple[int, int], int] = field(default_factory=dict)  # so many of the first take none of such tasks

    @staticmethod
    def of(rooms: Sequence[Room]) -> "Rooms":
        return Rooms(list(rooms), most=min(MOST_KEPT, max(1, len(rooms) // 2)))

    @property
    def free(self) -> int:
        """Slots that one task can have now at most."""
        return max((room.slots - room.taken for room in self.open), default=0)

    @property
    def any_free(self) -> bool:
        return bool(self.may(1, 0))

    def may(self, slots: int, depth: int) -> Sequence[Room]:
        """Those from the first on that takes a task of this size (see Room.fits). In a claim rooms only fill up: those
        before it are never looked at again."""
        at = self._full.get((slots, depth), 0)
        while at < len(self.open) and not self.open[at].fits(slots, depth):
            at += 1
        self._full[slots, depth] = at
        return self.open[at:]

    def level(self, waiting: int, depth: int) -> int:
        """`depth`, or near the end of such short tasks less: so deep that the last `waiting` ones are shared, and no
        executor is done long before the others."""
        if not depth or waiting > depth * len(self.open):
            return depth
        able = [room for room in self.open if room.held < room.slots]
        slots = sum(room.slots - room.held for room in able)
        queued = sum(room.taken - room.held for room in able)
        return min(depth, (waiting + queued) // slots) if slots else depth

    @property
    def exhausted(self) -> bool:
        """No further room is kept for anybody, so that others' work goes on."""
        return len(self.kept) >= self.most

    def keep(self, pair: tuple[str, str], job: int, slots: int, bad: Collection[str]) -> None:
        """One room for a task of this job, of this lane and owner, if they have none yet: the one that will have
        `slots` free soonest. Where the task has failed (`bad`) comes last."""
        could = [room for room in self.open if room.slots >= slots]
        if could and pair not in self.kept and not self.exhausted:
            room = min(could, key=lambda room: (room.executor in bad, *_wait(room, slots)))
            self.open.remove(room)
            self._full.clear()
            self.kept[pair] = Kept(room.executor, slots, job)


def _wait(room: Room, slots: int) -> tuple[int, int, int]:
    """How long until so many are free, by guess: slots of long tasks that must end first, then of all."""
    return max(0, room.held + slots - room.slots), room.taken - room.slots, room.taken
