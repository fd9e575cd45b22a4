"""Pushes that a hook wrote down while the farm was away, or busy: read in order, planned, forgotten."""

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

EVERY_S = 5.0


class SpoolReader:
    """One thread that looks into the spool now and then; the hook's poke makes it look at once."""

    def __init__(self, farm: "Farm") -> None:
        self._farm = farm
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._reading, name="spool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _reading(self) -> None:
        from farm.rebuilds import take_spooled

        while not self._closed.is_set():
            try:
                take_spooled(self._farm)
            except Exception:
                log.exception("the spool of pushes can't be read")
            self._closed.wait(EVERY_S)
