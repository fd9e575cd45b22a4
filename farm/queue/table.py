"""Whose turn it is in one claim: lanes, and owners inside each."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from farm.queue.needy import Needy
from farm.queue.shares import Fact, Shares
from farm.queue.waiting import Queue, Waiting

SYSTEM = ""  # no lane or owner has this name: the row of the virtual time of whoever was served last


@dataclass(slots=True)
class Table:
    """Lanes that share the farm, and owners that share a lane; who has nothing that fits has left."""

    waiting: Waiting
    limit: int  # candidates of an owner
    lanes: Shares
    owners: Mapping[str, Shares]
    needy: Needy
    queues: dict[tuple[str, str], Queue] = field(default_factory=dict)
    present: dict[str, set[str]] = field(default_factory=dict)
    joined: Collection[tuple[str, str]] = ()  # lanes and owners that had something to begin with

    def join(self, pairs: Collection[tuple[str, str]]) -> None:
        self.joined = pairs
        self.lanes.join(self.owners)
        for lane, shares in self.owners.items():
            self.present[lane] = {owner for name, owner in pairs if name == lane}
            shares.join(self.present[lane])

    def next(self) -> tuple[str, str, float] | None:
        """Lane and owner whose turn it is, and the seconds they may be given until it is another's."""
        if not self.present:
            return None
        lane, of_lane = self.lanes.next(self.present)
        owner, of_owner = self.owners[lane].next(self.present[lane])
        return lane, owner, min(of_lane, of_owner)

    def ahead(self, lane: str) -> float:
        """Of the lane whose turn it is, in seconds of virtual time."""
        return self.lanes.virtual[lane] - min(self.lanes.virtual[name] for name in self.present)

    def owed(self, lane: str, owner: str) -> float:
        """Seconds that it is behind the one in its lane that was given most."""
        virtual = self.owners[lane].virtual
        behind = max(virtual[name] for name in self.present[lane]) - virtual[owner]
        return behind * self.owners[lane].weight(owner)

    def charge(self, lane: str, owner: str, seconds: float) -> None:
        self.lanes.charge(lane, seconds)
        self.owners[lane].charge(owner, seconds)

    def queue(self, lane: str, owner: str) -> Queue:
        if (lane, owner) not in self.queues:
            found = self.waiting.queue(lane, owner, self.limit)
            if others := self.needy.queues(lane, owner, self.limit + self.waiting.more):
                found.beside(others)
            self.queues[lane, owner] = found
        return self.queues[lane, owner]

    def left(self) -> set[tuple[str, str]] | None:
        """Who still has something after what was handed out; None where that is not known without asking."""
        known = all(queue.left for queue in self.queues.values())
        return {*self.joined} if known else None

    def close(self) -> None:
        for queue in self.queues.values():
            queue.close()

    def leave_wide(self) -> None:
        """Whoever has nothing but what fits nowhere: no room will be kept for it now, so it need not be asked."""
        if self.waiting.slots < self.waiting.largest:
            self.waiting = replace(self.waiting, largest=0)
            pairs = self.waiting.pairs() | self.needy.pairs(now=True)
            for lane, owner in [(lane, o) for lane, owners in self.present.items() for o in owners]:
                if (lane, owner) not in pairs:
                    self.leave(lane, owner)

    def leave(self, lane: str, owner: str) -> None:
        self.present[lane].discard(owner)
        if not self.present[lane]:
            del self.present[lane]


def shares_of(known: Mapping[str, Fact], weight: Callable[[str], float]) -> Shares:
    return Shares(known, known[SYSTEM].virtual if SYSTEM in known else 0.0, weight)
