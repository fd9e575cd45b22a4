"""Named licences of which there are only so many on the whole farm: who holds how many, and who may have one more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schedules.model import Licence

ANY = 1 << 40  # no licence keeps a task from its slot


@dataclass(slots=True)
class Uses:
    """`held`: name → executor → how many are in use there. Per host, all tasks of an executor share what it holds."""

    known: Mapping[str, Licence]
    held: dict[str, dict[str, int]] = field(default_factory=dict)

    def room(self, needs: Mapping[str, int], executor: str) -> int:
        """How many more tasks that need so many of each name may begin there."""
        return min((self._room(name, count, executor) for name, count in needs.items()), default=ANY)

    def spare(self, needs: Mapping[str, int]) -> bool:
        """Whether one such task may begin on an executor that holds none yet."""
        return self.room(needs, "") > 0

    def begins(self, needs: Mapping[str, int], count: int, slots: int) -> int:
        """Of so many waiting tasks how many may begin beside all that runs, on new executors of so many slots; those
        are in use from now on."""
        where = f"new {sum(len(there) for there in self.held.values())}"
        found = min(count, self.room(needs, where))
        for name, each in needs.items():
            found = min(found, self.free(name) // each * slots if self._shared(name) else found)
        if found:
            self.take(needs, where, found)
        return found

    def take(self, needs: Mapping[str, int], executor: str, tasks: int = 1) -> None:
        for name, count in needs.items():
            there = self.held.setdefault(name, {})
            had = there.get(executor, 0)
            there[executor] = max(had, count) if self._shared(name) else had + count * tasks

    def used(self, name: str) -> int:
        return sum(self.held.get(name, {}).values())

    def free(self, name: str) -> int:
        """0 also of one that is not known, or of which there are fewer by now than are in use."""
        known = self.known.get(name)
        return max(0, known.count - self.used(name)) if known else 0

    def _room(self, name: str, count: int, executor: str) -> int:
        if name not in self.known:
            return 0
        if not self._shared(name):
            return self.free(name) // count
        had = self.held.get(name, {}).get(executor, 0)
        return ANY if count <= had or count - had <= self.free(name) else 0

    def _shared(self, name: str) -> bool:
        known = self.known.get(name)
        return known is not None and known.per == "host"
