"""Looks after the doors: certificates are renewed in time, and the last use of tokens is written down."""

import logging
import threading
from typing import TYPE_CHECKING

from sqlalchemy.exc import DatabaseError

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

EVERY_S = 30.0


class Porter:
    """A thread of the service."""

    def __init__(self, farm: "Farm") -> None:
        self._farm = farm
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="porter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closed.set()
        self._thread.join(10)
        self.turn()

    def _keep(self) -> None:
        while not self._closed.wait(EVERY_S):
            self.turn()

    def turn(self) -> None:
        """What is due."""
        try:
            listener = self._farm.listener
            if listener is not None and listener.tls is not None and listener.tls.refresh():
                listener.told()
            self._farm.tokens.write_used()
        except (DatabaseError, OSError) as error:
            log.warning("the last use of tokens can't be written: %s", error)
