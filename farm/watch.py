"""On PostgreSQL: the one service of a database, and who wakes it when other processes have written."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from farm import postgres
from farm.db import BadDatabase, Database
from farm.home import Taken

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how soon a lost connection is seen; a lost notification is made good by the wheel's own turn, every 5 s
AGAIN_S = 1.0  # between two tries to come back


def check_session(db: Database) -> None:
    """For a process that stays, before it relies on it. Raises BadDatabase where it has no session of its own."""
    import psycopg

    try:
        with postgres.alone(db.engine) as connection:
            _check_session(db, connection)
    except psycopg.Error as error:
        raise BadDatabase(db.where, postgres.sentence(error, lost=True)) from error


def _check_session(db: Database, connection: Any) -> None:
    def tell(channel: str) -> None:
        with db.aside() as tx:
            tx.exec_driver_sql(f"NOTIFY {channel}")

    if not postgres.keeps_session(connection, tell):
        raise BadDatabase(db.where, postgres.NO_SESSION)


class Watch:
    """A thread and a connection of its own, whose life is the service's claim to the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._closed = threading.Event()
        self._taken = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self.woken: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None  # another service has the database

    def start(self) -> None:
        """Returns once this is the database's one service. Raises Taken when another one is."""
        if self._thread.ident is None:  # else who stood by has started it
            self._thread.start()
        self._taken.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            with suppress(SQLAlchemyError), self._db.aside() as tx:
                postgres.announce(tx)  # it wakes ourselves: who comes next waits for us
            self._thread.join(10)

    def _watch(self) -> None:
        try:
            self._hold()
        except BaseException as error:  # at the start: told to who starts
            if not self._taken.is_set():
                self._failure = error
                self._taken.set()
                return
            log.exception("the watch on the database ended")
            self.lost()

    def _hold(self) -> None:
        import psycopg

        told = ""  # once each, however long it lasts
        while not self._closed.is_set():
            try:
                with postgres.alone(self._db.engine) as connection:
                    self._take(connection)
                    told = ""
                    self._listen(connection)
            except psycopg.Error as error:
                said = postgres.sentence(error, lost=True)
                if not self._taken.is_set():
                    raise BadDatabase(self._db.where, said) from error
                if said != told:
                    log.warning("%s", said)
                told = said
                self._closed.wait(AGAIN_S)
            except Taken as error:
                if not self._taken.is_set():
                    raise
                log.error("%s; this one ends", error)
                self._failure = error  # who stood by, and is about to lead, looks once more
                self.lost()
                return

    def _take(self, connection: Any) -> None:
        """Raises Taken, BadDatabase."""
        _check_session(self._db, connection)  # before the lock, which would stay with whatever session has it
        name = f"farm service {os.getpid()} on {socket.gethostname()}"[:63]
        if not postgres.take_service(connection, name):
            who = postgres.who_serves(connection) or "a service"
            remedy = "end it there with `farm down`, or choose another database"
            raise Taken(f"{who} works on this database already", self._db.where, remedy)
        if self._taken.is_set():
            log.info("the database is back")
            self.woken()
        self._taken.set()

    def _listen(self, connection: Any) -> None:
        """Until the connection is lost, or ours is no longer needed."""
        while not self._closed.is_set():
            for _ in connection.notifies(timeout=LOOK_S, stop_after=1):
                self.woken()
            if not self._closed.is_set():
                connection.execute("SELECT 1")  # a cut line says nothing by itself
