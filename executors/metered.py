"""What every provider needs and none should hold: a log, counts, and another try when it was throttled."""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import TypeVar

from executors.contract import Machine, Offer, Order, Placed, Provider, Watches
from executors.errors import ProviderError, Throttled

TRIES = 3
WAIT_S = 0.2  # doubled from try to try

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


def metered(provider: Provider, pool: str) -> "Metered":
    """The same provider with a log. It keeps the capability to watch where there is one."""
    if isinstance(provider, Watches):
        return MeteredWatch(provider, pool)
    return Metered(provider, pool)


class Metered:
    """A Provider around another. `counts`: (call, outcome) → how often; `seconds`: call → time spent in it."""

    def __init__(self, provider: Provider, pool: str) -> None:
        self.inner, self.pool = provider, pool
        self.counts: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._patience = threading.Event()

    def offers(self) -> Sequence[Offer]:
        return self._call("offers", self.inner.offers)

    def launch(self, order: Order, /) -> Placed:
        placed = self._call("launch", lambda: self.inner.launch(order))
        log.info("pool %s: order %s gave %d of %d", self.pool, order.token, len(placed.machines), order.count)
        return placed

    def machines(self) -> Sequence[Machine]:
        return self._call("machines", self.inner.machines)

    def terminate(self, ids: Collection[str], /) -> None:
        self._call("terminate", lambda: self.inner.terminate(ids))
        log.info("pool %s: ended %s", self.pool, ", ".join(sorted(ids)))

    def _call(self, name: str, call: Callable[[], Answer]) -> Answer:
        """Every call may be repeated: launches carry their token. Raises what the last try raised."""
        for left in range(TRIES - 1, -1, -1):
            try:
                return self._counted(name, call)
            except Throttled as error:
                if not left:
                    raise
                log.info("pool %s: %s throttled (%s), tried again", self.pool, name, error)
                self._patience.wait(WAIT_S * 2 ** (TRIES - 1 - left))
        raise AssertionError("unreachable")

    def _counted(self, name: str, call: Callable[[], Answer]) -> Answer:
        began, outcome = time.monotonic(), "fine"
        try:
            return call()
        except ProviderError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.counts[name, outcome] += 1
            self.seconds[name] += time.monotonic() - began


class MeteredWatch(Metered):
    """A Metered that watches as well."""

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        assert isinstance(self.inner, Watches)
        gone = self.inner.vanished(timeout)
        if gone:
            log.info("pool %s: %s vanished", self.pool, ", ".join(gone))
        return gone

    def close(self) -> None:
        assert isinstance(self.inner, Watches)
        self.inner.close()
