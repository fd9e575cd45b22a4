"""Looks after the doors: certificates are renewed in time, uses of tokens are written down, keys of the gone end."""

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from farm import auth
from farm.db import after_commit

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

EVERY_S = 30.0
LINGER = timedelta(hours=1)  # longer than any lease


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
            self._collect()
        except (SQLAlchemyError, OSError) as error:
            log.warning("the doors can't be looked after: %s", error)

    def _collect(self) -> None:
        """The tokens of machines that are gone. Not at once: one that comes back is told to go, and why."""
        db, now = self._farm.db, self._farm.clock.now()
        with db.read() as tx:
            ended = auth.ended_machines(tx, now - LINGER)
        if not ended:
            return
        with db.write() as tx:
            gone = [number for executor in ended for number in auth.revoke_machine(tx, executor, now)]
            after_commit(tx, lambda: self._farm.tokens.forget(gone))
