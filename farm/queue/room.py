"""Executors that take work: how much goes where, and which is kept free for a task that needs several slots."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from schedules.needs import PLAIN, Amounts, Needs, Offer, lacking, times, waste

MOST_KEPT = 16  # rooms that are kept in one claim, at most half of all
ENOUGH = 0.7  # a room with so much of what may wait there is left alone: few large helpings cost less than many small


@dataclass(slots=True)
class Room:
    """An executor that takes work."""

    executor: str
    slots: int
    taken: int  # slots of attempts it already has, waiting ones included
    held: int = 0  # slots among those whose attempts are not short: nothing waits behind them
    offer: Offer = PLAIN
    gpus: list[int] = field(default_factory=list)  # devices that no attempt has
    used: dict[str, int] = field(default_factory=dict)  # of what it offers
    aside: int = 0  # slots that are kept for tasks with needs
    idle: bool = False  # nothing ran there before this claim

    def fits(self, slots: int, depth: int) -> int:
        """How many tasks of this size it takes now: into free slots, and `depth` short ones behind each short one."""
        if slots > self.slots:
            return 0
        ahead = depth * max(0, self.slots - self.held) if slots == 1 and not self.aside else 0
        if self.taken - self.slots > ENOUGH * ahead:
            return 0
        return max(0, (self.slots + ahead - self.taken - self.aside) // slots)

    def take(self, slots: int, depth: int) -> None:
        self.taken += slots
        self.held += 0 if depth else slots

    def could(self, needs: Needs) -> bool:
        """Whether it would have room for such a task, were it empty."""
        return self.slots >= needs.slots and not lacking(needs, self.offer)

    def takes(self, needs: Needs) -> int:
        """How many such tasks it takes now. None of them waits behind a slot."""
        return times(needs, self.offer, self.slots - self.taken - self.aside, self.used)

    def begin(self, needs: Needs, tasks: int) -> None:
        self.take(needs.slots * tasks, 0)
        self._use(needs.amounts, tasks)

    def gave(self, amounts: Amounts, gpus: Collection[int]) -> None:
        """An attempt has so much since an earlier claim; its slots are counted already."""
        self._use(amounts, 1)
        self.gpus = [gpu for gpu in self.gpus if gpu not in gpus]

    def keep(self, needs: Needs) -> None:
        self.aside += needs.slots
        self._use(needs.amounts, 1)

    def missing(self, needs: Needs) -> tuple[int, int, int]:
        """How much must come back before such a task fits: amounts, slots; and how much it runs."""
        has = dict(self.offer.amounts)
        short = sum(max(0, self.used.get(name, 0) + n - has.get(name, n)) for name, n in needs.amounts)
        return short, max(0, self.taken + self.aside + needs.slots - self.slots), self.taken

    def _use(self, amounts: Amounts, tasks: int) -> None:
        for name, n in amounts:
            self.used[name] = self.used.get(name, 0) + n * tasks


@dataclass(frozen=True, slots=True)
class Kept:
    """A room that drains for a task of `job` that needs `slots` of it at once. Of one that does not, a `part`: free
    slots that are kept for tasks with needs."""

    executor: str
    slots: int
    job: int
    part: bool = False


@dataclass(slots=True)
class Rooms:
    """What one claim fills. A room that is kept gets nothing in this claim, so that it drains. Nothing of that is
    stored: the next claim finds the same room most free, and keeps it again."""

    open: list[Room]
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)  # by lane and owner
    most: int = 0
    asides: dict[tuple[str, str], Kept] = field(default_factory=dict)  # the same for tasks with needs: of a room a part
    _full: dict[tuple[int, int], int] = field(default_factory=dict)  # so many of the first take none of such tasks
    _best: dict[Needs, list[Room]] = field(default_factory=dict)  # those that may take such, the best last

    @staticmethod
    def of(rooms: Sequence[Room]) -> "Rooms":
        """What needs nothing rare fills rooms without it first."""
        ordered = sorted(rooms, key=lambda room: room.offer.rare)
        return Rooms(ordered, most=min(MOST_KEPT, max(1, len(rooms) // 2)))

    @property
    def free(self) -> int:
        """Slots that one task can have now at most."""
        return max((room.slots - room.taken - room.aside for room in self.open), default=0)

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

    def best(self, needs: Needs) -> Sequence[Room]:
        """Those that may take such a task now, the first for sure: where it keeps least from others, then busiest."""
        if needs not in self._best:
            self._best[needs] = _unlike(self.open, needs)
        found = self._best[needs]
        while found and not found[-1].takes(needs):
            found.pop()
        return found[::-1]

    def reserve(self, pair: tuple[str, str], job: int, needs: Needs, bad: Collection[str]) -> None:
        """What a task of this job needs is kept where it will be there soonest, for nobody else in this claim; the rest
        of that executor goes on. One for each lane and owner."""
        could = [room for room in self.open if room.could(needs)]
        if could and pair not in self.asides and len(self.asides) < self.most:
            room = min(could, key=lambda room: (room.executor in bad, *room.missing(needs)))
            room.keep(needs)
            self.asides[pair] = Kept(room.executor, needs.slots, job)

    def parts(self) -> list[Kept]:
        """Of rooms that are not kept as a whole the free slots that are."""
        free = {room.executor: min(room.aside, room.slots - room.taken) for room in self.open}
        return [Kept(executor, slots, 0, part=True) for executor, slots in free.items() if slots > 0]

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
            self._best.clear()
            self.kept[pair] = Kept(room.executor, slots, job)


def _unlike(rooms: Iterable[Room], needs: Needs) -> list[Room]:
    """Those that could ever take such tasks: where it keeps most from others first, the busiest last."""
    could = [room for room in rooms if room.could(needs)]
    return sorted(could, key=lambda room: waste(needs, room.offer))[::-1]


def _wait(room: Room, slots: int) -> tuple[int, int, int]:
    """How long until so many are free, by guess: slots of long tasks that must end first, then of all."""
    return max(0, room.held + slots - room.slots), room.taken - room.slots, room.taken
