"""What machines there are to be had, and how they behave."""

import math
import random
from dataclasses import dataclass, field

from farm.simulate.trace import SECOND


@dataclass(frozen=True, slots=True)
class Offer:
    """A pool of like machines; times in µs."""

    name: str = "pool"
    boot: int = 60 * SECOND
    min_bill: int = 60 * SECOND
    ceiling: int = 1000  # slots
    slots: int = 1
    price: float = 1.0  # an hour of a machine
    spread: float = 0.0  # standard deviation of the logarithm of boot times, whose mean is `boot`
    loss: float = 0.0  # how often an hour a machine is taken away (spot)
    sold_out: tuple[tuple[int, int], ...] = ()  # from, to: µs after the first arrival

    def sells(self, at: int) -> bool:
        return not any(start <= at < end for start, end in self.sold_out)


@dataclass(slots=True)
class Chance:
    """What a seed decides: the n-th machine boots as long and lives as long under every policy."""

    seed: int = 0
    drawn: int = field(default=0, init=False)

    def boot(self, offer: Offer) -> int:
        self.drawn += 1
        if not offer.spread:
            return offer.boot
        off = random.Random(f"{self.seed}/{self.drawn}").gauss(0.0, offer.spread)
        return round(offer.boot * math.exp(off - offer.spread**2 / 2))

    def life(self, offer: Offer) -> int | None:
        """µs from ready to loss; None: it is never taken away."""
        if not offer.loss:
            return None
        return round(random.Random(f"{self.seed}/life/{self.drawn}").expovariate(offer.loss) * 3600 * SECOND)
