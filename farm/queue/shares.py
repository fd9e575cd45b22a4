"""Start-time fair queueing: names that share something by weight, each with the virtual time of what it was given."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from schedules.ordering import Turn, next_lane


@dataclass(frozen=True, slots=True)
class Fact:
    """What is kept between two claims: predicted seconds given / weight, and whether it still had work waiting."""

    virtual: float
    backlogged: bool


@dataclass(slots=True)
class Shares:
    """`known` holds what is stored; `system` is where whoever was served last stood when its turn came."""

    known: Mapping[str, Fact]
    system: float = 0.0
    weight: Callable[[str], float] = lambda _name: 1.0
    virtual: dict[str, float] = field(default_factory=dict)

    def join(self, names: Iterable[str]) -> None:
        """They have work. One that had work waiting all the time keeps its virtual time: it is owed what it was not
        given. One that had none starts where the others are now, or later if it is ahead: it has no claim on the time
        in which it asked for nothing."""
        for name in names:
            fact = self.known.get(name, Fact(self.system, False))
            self.virtual[name] = fact.virtual if fact.backlogged else max(fact.virtual, self.system)

    def next(self, names: Iterable[str]) -> tuple[str, float]:
        """Whose turn it is, and for how many seconds it may be given more until it is another's."""
        turns = [Turn(name, self.virtual[name], self.weight(name)) for name in names]
        first = next_lane(turns) or turns[0].lane
        second = min((turn.virtual for turn in turns if turn.lane != first), default=inf)
        return first, max(0.0, second - self.virtual[first]) * self.weight(first)

    def charge(self, name: str, seconds: float) -> None:
        self.system = max(self.system, self.virtual[name])
        self.virtual[name] += seconds / self.weight(name)

    def facts(self, waiting: Iterable[str]) -> dict[str, Fact]:
        """What to keep of those that had work; `waiting` still have."""
        left = {*waiting} & self.virtual.keys()
        if not left and self.virtual:  # nobody is behind: whoever comes next starts behind all that was served
            self.system = max(self.system, *self.virtual.values())
        return {name: Fact(value, name in left) for name, value in self.virtual.items()}
