"""One machine of a replay, from its order to its end."""

from dataclasses import dataclass, field

from farm.simulate.pools import Offer
from farm.simulate.trace import Job


@dataclass(slots=True, eq=False)
class Machine:
    """Times in µs; `at` holds the jobs that run on it, and since when."""

    id: str
    offer: Offer
    asked: int
    ready_at: int
    ready: bool = False
    idle_since: int = 0
    gone: bool = False
    at: dict[Job, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Slots that take work now."""
        return self.offer.slots - len(self.at) if self.ready and not self.gone else 0

    def paid(self, now: int) -> int:
        """µs that are paid for if it ends now."""
        return max(self.offer.min_bill, now - self.asked)
