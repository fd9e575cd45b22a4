"""The providers' books as they were listed last, and whom they lack since when."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from executors.contract import Machine, Provider
from executors.errors import ProviderError
from farm.clock import Clock
from farm.tables import AnyRow

log = logging.getLogger(__name__)

UNLISTED_LIMIT = timedelta(seconds=15)  # three listings


@dataclass(frozen=True, slots=True)
class Listing:
    """What a provider answered; `at` is when it was asked, so that nothing older than the answer counts as news."""

    at: datetime
    machines: Sequence[Machine]


class Listings:
    """Pool → its last listing. Taken by several threads."""

    def __init__(self) -> None:
        self._last: dict[str, Listing] = {}
        self._lock = threading.Lock()
        self._missing: dict[str, datetime] = {}  # executor → the first listing that lacked it

    def take(self, pool: str, provider: Provider, clock: Clock) -> None:
        """Ask for it. What can't be had leaves the one before."""
        at = clock.now()
        try:
            machines = provider.machines()
        except (ProviderError, OSError) as error:
            log.warning("pool %s can't be listed: %s", pool, error)
            return
        with self._lock:
            self._last[pool] = Listing(at, machines)

    def last(self) -> Mapping[str, Listing]:
        with self._lock:
            return dict(self._last)

    def forgot(self, row: AnyRow, listing: Listing | None, now: datetime) -> bool:
        """Whether its provider has not listed it for long: books may lag behind, or be lost with a disk.

        `listing`: its pool's last one, when that lacks it. Time counts from listing to listing: a provider that does
        not answer has forgotten nobody.
        """
        if listing is None or listing.at < row.launched <= now:
            self._missing.pop(row.id, None)
            return False
        since = self._missing[row.id] = min(self._missing.get(row.id, listing.at), listing.at)
        if listing.at - since <= UNLISTED_LIMIT:
            return False
        del self._missing[row.id]
        return True
