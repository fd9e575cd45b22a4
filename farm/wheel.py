"""Turns the wheel: at once on an event, then at most every 200 ms; when the policy asked for it; and every 5 s."""

import logging
import threading
import time
from datetime import timedelta

from sqlalchemy.exc import InternalError, OperationalError

from executors.contract import Watches
from farm.checkpoints import Checkpoints
from farm.db import Superseded, unusable
from farm.reconcile import Fleet, reconcile

log = logging.getLogger(__name__)

EVERY_S = 5.0
GAP_S = 0.2
FIRST_S = 5.0  # for all providers to be listed before the wheel turns first
SOON_S = 0.5  # the clock alone turns the wheel no sooner than this


class Wheel:
    """Threads around `reconcile`: one that turns; for each provider one that lists, and one if it watches by itself."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._checkpoints = Checkpoints(fleet.db)
        self._listed = {pool: threading.Event() for pool in fleet.providers}
        self._listings = [
            threading.Thread(target=self._listing, args=(pool,), name="listing", daemon=True) for pool in self._listed
        ]
        self._threads = [threading.Thread(target=self._turning, name="wheel", daemon=True)]
        self._watchers = {name: p for name, p in fleet.providers.items() if isinstance(p, Watches)}
        self._threads += [
            threading.Thread(target=self._watching, args=w, name="watcher", daemon=True) for w in self._watchers.items()
        ]

    def start(self) -> None:
        """All providers are asked before the wheel turns, side by side; one that does not answer is not waited for."""
        self._checkpoints.start()
        for thread in self._listings:
            thread.start()
        until = time.monotonic() + FIRST_S
        for listed in self._listed.values():
            listed.wait(max(0.0, until - time.monotonic()))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something happened."""
        self._woken.set()

    def stop(self) -> None:
        self._closed.set()
        self._woken.set()
        self._checkpoints.stop()
        for provider in self._watchers.values():
            provider.close()
        for thread in (*self._threads, *self._listings):
            if thread.ident is not None:  # the first listing may take long; those that start after it end at once
                thread.join(10)

    def _turning(self) -> None:
        wait = 0.0
        while not self._closed.is_set():
            self._woken.wait(wait)
            self._woken.clear()
            if self._closed.is_set():
                return
            wait = self._turn()
            self._closed.wait(GAP_S)

    def _turn(self) -> float:
        """One turn; seconds until the next one at the latest."""
        try:
            decision = reconcile(self.fleet)
        except Superseded as error:  # this service is about to end
            log.warning("the wheel turns no more: %s", error)
            return EVERY_S
        except (OperationalError, InternalError) as error:
            log.warning("the wheel stands still: %s", unusable(error))
            return EVERY_S
        except Exception:
            log.exception("the wheel stumbled; it turns again")
            return EVERY_S
        if decision.look_again is None:
            return EVERY_S
        left = decision.look_again - self.fleet.clock.now()
        return max(SOON_S, min(EVERY_S, (left + timedelta(milliseconds=1)).total_seconds()))

    def _listing(self, pool: str) -> None:
        self._list(pool)
        self._listed[pool].set()
        while not self._closed.wait(EVERY_S):
            self._list(pool)

    def _list(self, pool: str) -> None:
        try:
            self.fleet.list_machines(pool)
        except Exception:
            log.exception("the listing failed; it is tried again")
        self.wake()

    def _watching(self, pool: str, provider: Watches) -> None:
        while not self._closed.is_set():
            try:
                gone = provider.vanished(timedelta(seconds=EVERY_S))
            except Exception:
                log.exception("a provider's watch failed")
                self._closed.wait(EVERY_S)
                continue
            if gone:
                self._list(pool)
