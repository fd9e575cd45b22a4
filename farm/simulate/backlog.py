"""What waits in a replay, in the order in which the farm hands it out: fair turns between lanes and between owners in
a lane, earliest due first of one owner. The rules are the queue's (farm/queue/shares.py, schedules/ordering.py)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from heapq import heappop, heappush

from farm.queue.shares import Fact, Shares
from farm.simulate.trace import Job
from schedules.model import Waiting


@dataclass(slots=True)
class Entry:
    """A job that waits: what the policy sees of it."""

    job: Job
    lane: str
    seen: Waiting


@dataclass(slots=True)
class Backlog:
    """`weight` of a lane; `owners`: whether each source is an owner of its own."""

    weight: Callable[[str], float]
    owners: bool = False
    entries: dict[int, Entry] = field(default_factory=dict)
    seen: dict[str, dict[int, Waiting]] = field(default_factory=dict)  # lane → job → what the policy sees
    _heaps: dict[str, dict[str, list[tuple[int, int]]]] = field(default_factory=dict)  # lane → owner → (due, job)
    _lanes: Shares = field(init=False)
    _owners: dict[str, Shares] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lanes = Shares({}, weight=self.weight)

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry, due: int) -> None:
        number, lane = entry.job.number, entry.lane
        owner = entry.job.source if self.owners else ""
        heaps = self._heaps.setdefault(lane, {})
        if not heaps:
            _join(self._lanes, lane)
        if not heaps.get(owner):
            _join(self._owners.setdefault(lane, Shares({})), owner)
        heappush(heaps.setdefault(owner, []), (due, number))
        self.entries[number] = entry
        self.seen.setdefault(lane, {})[number] = entry.seen

    def take(self, barred: Collection[str] = ()) -> Entry | None:
        """The next one; none of the barred lanes."""
        present = [lane for lane, heaps in self._heaps.items() if heaps and lane not in barred]
        if not present:
            return None
        lane = self._lanes.next(present)[0]
        heaps = self._heaps[lane]
        owner = self._owners[lane].next(heaps)[0]
        entry = self.entries.pop(heappop(heaps[owner])[1])
        seconds = entry.seen.predicted.total_seconds()
        self._lanes.charge(lane, seconds)
        self._owners[lane].charge(owner, seconds)
        if not heaps[owner]:
            del heaps[owner]
        self._left(lane)
        del self.seen[lane][entry.job.number]
        return entry

    def _left(self, lane: str) -> None:
        """Where nobody waits any more, whoever comes next starts behind all that was served."""
        if not self._heaps[lane]:
            self._owners[lane].facts(())
        if not self.entries:
            self._lanes.facts(())


def _join(shares: Shares, name: str) -> None:
    shares.known = {name: Fact(shares.virtual.get(name, shares.system), False)}
    shares.join([name])
