"""Standing by: a process that waits, without a port and without a word to providers, until it is its turn to lead."""

import contextlib
import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as NoConnection

from executors.site.proc import cpu_s
from executors.site.process import Process
from farm import home_lock, lease, postgres
from farm.clock import ServerClock
from farm.connection import Connection, unix
from farm.db import BadDatabase, check
from farm.home import BadHome, Taken
from farm.lease import ENDED, LEADS, Member, Stillness
from farm.watch import Watch

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

LOOK_S = 0.2
BEAT_S = 2.0
STILL_S = 4.0  # a lease that is renewed every second and has not been for so long: its leader may be frozen
ANSWER_S = 2.0  # … and is, when it does not answer either
LONGEST_S = 30.0  # … unless it works hard: then it has so long
WORKS = 0.1  # of a processor
FAR_STILL_S = 6.0  # where it can't be asked
AGAIN_S = 1.0  # while the database is away
LEAVE_S = 1.0  # for the last beat
BLIND_S = 3.0  # between two looks: then it was we who stood still, or the database
FREE_S = 3.0  # a leader whose connection was cut comes back sooner, and keeps the database


# what a service would import when it is its turn: half a second of work
_WARM = (
    "executors.metered",
    "executors.registry",
    "farm.api",
    "farm.given",
    "farm.listening",
    "farm.running",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.httptools_impl",
)


def warm() -> None:
    """Do what takes long before it is our turn."""
    for name in _WARM:
        importlib.import_module(name)


class Work:
    """Whether a process on this machine has worked since: one that can't answer for all that it has to do is not
    frozen."""

    def __init__(self, pid: int) -> None:
        self._pid, self._since, self._used = pid, time.monotonic(), cpu_s(pid)

    def works(self) -> bool:
        return cpu_s(self._pid) - self._used > WORKS * (time.monotonic() - self._since)


class Successor:
    """One process that stands by for the leader of its home, or of its database."""

    def __init__(self, farm: "Farm", told: threading.Event) -> None:
        """`told`: not to wait any longer."""
        self._farm, self._home, self._db, self._told = farm, farm.home, farm.db, told
        self._me = Member.here(farm.home, farm.clock)
        self._over = threading.Event()
        self._still, self._free = Stillness(), Stillness()
        self._looked = time.monotonic()
        self._before: Member | None = None  # the leader that we found first
        self._leader: Member | None = None
        self._leased = True  # it renews a lease: an older farm does not
        self._served = 0  # by the session of somebody who has the database
        self._standing = False  # nobody knows how long the leader has stood still at the first look
        self._beats = threading.Thread(target=self._beating, name="beat", daemon=True)

    def wait(self, standing: Callable[[], None]) -> IO[str] | None:
        """The lock of the home when it is our turn, and on PostgreSQL `farm.watch` with the claim to the database; None
        when told to stop, or when the farm went down. `standing` is called once we wait. Raises BadHome, BadDatabase,
        DatabaseError.
        """
        check(self._db, self._db.where)
        self._look()
        self._before = self._leader
        lock = self._turn()
        if lock is not None:
            return lock
        self._check_shared()
        self._standing = True
        self._beats.start()
        standing()
        try:
            while lock is None and not self._told.wait(LOOK_S) and not self._ended():
                lock = self._round()
        finally:
            self._leave()
        if lock is not None:
            log.info("nobody leads the farm any longer; this one does from now on")
            self._tell_the_time()
        return lock

    def _tell_the_time(self) -> None:
        """By the clock of the server, which may have been asked days ago."""
        if isinstance(self._farm.clock, ServerClock):
            with contextlib.suppress(DatabaseError, NoConnection):
                self._farm.clock.look()

    def _ended(self) -> bool:
        """Whether somebody has told the whole farm to go down while we waited."""
        now, before = self._leader, self._before
        return now is not None and now.state == ENDED and not (before and before.id == now.id and before.state == ENDED)

    def _round(self) -> IO[str] | None:
        try:
            self._look()
            return None if self._ended() else self._turn()
        except (DatabaseError, NoConnection, BadDatabase, OSError) as error:  # nobody can tell who stands still
            log.info("standing by, and can't tell who leads: %s", error)
            self._still.begin()
            self._free.begin()
            self._told.wait(AGAIN_S)
            return None

    def _look(self) -> None:
        with self._db.read() as tx:
            self._leader = lease.leader(tx)
            self._leased = self._leader is not None and lease.leads(tx, self._leader)
            self._served = 0 if self._db.sqlite else postgres.served(tx)
        now = time.monotonic()
        if now - self._looked > BLIND_S:
            self._still.begin()
            self._free.begin()
        self._looked = now

    def _beating(self) -> None:
        """Not by who watches: on SQLite a leader that stands still may keep all writers waiting."""
        while not self._over.is_set():
            self._me = replace(self._me, beat=self._me.beat + 1)
            with contextlib.suppress(DatabaseError, NoConnection), self._db.aside() as tx:
                lease.register(tx, self._me)
            self._over.wait(BEAT_S)

    def _leave(self) -> None:
        self._over.set()
        self._beats.join(LEAVE_S)
        with contextlib.suppress(DatabaseError, NoConnection), self._db.aside() as tx:
            lease.leave(tx, self._me)

    def _turn(self) -> IO[str] | None:
        """The home's lock, if nobody leads."""
        if self._leads_elsewhere():  # nobody who begins in this home meanwhile is to find it taken for a moment
            self._free.begin()
            return None
        lock = home_lock.taken(self._home)
        if lock is None and (self._db.sqlite or self._leader is None or self._is_here(self._leader)):
            self._suspect_here()
            return None
        try:
            self._look()  # what the last one wrote before it let go
            if not self._ended() and (self._db.sqlite or self._take()):
                return lock or home_lock.seized(self._home)
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        if lock is not None:
            lock.close()
        return None

    def _leads_elsewhere(self) -> bool:
        here = self._leader is None or self._is_here(self._leader)
        return not (self._db.sqlite or here) and bool(self._served) and not self._stands_still()

    def _is_here(self, who: Member) -> bool:
        """Whether it leads from our own home, on our own machine."""
        return who.host == self._me.host and who.home == self._me.home

    # ── a leader in our own home ──

    def _suspect_here(self) -> None:
        """End the leader when it stands still: its lease is not renewed, and it does not answer."""
        who = self._leader
        if who is None or self._stood_s(who) < STILL_S or not (self._standing and self._leased):
            return
        used = Work(who.pid)
        if self._answers():
            self._still.begin()
        elif self._is_here(who) and who.pid == home_lock.holder(self._home) and not self._bears(who, used):
            self._end(who)

    def _bears(self, who: Member, used: Work) -> bool:
        return used.works() and self._stood_s(who) <= LONGEST_S

    def _answers(self) -> bool:
        """Whether it is alive behind its socket, whatever it says."""
        connection = Connection(unix(self._home.socket), ANSWER_S)
        try:
            connection.ask("GET", "/v1/health", {}, None)
            return True
        except OSError:
            return False
        finally:
            connection.close()

    def _end(self, who: Member) -> None:
        """By a handle of the process, so that no other one of its number is hit."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(who.pid)
            try:
                if Process(who.pid, who.started).alive():
                    log.warning("the leader, %s, stands still; it is ended", who)
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
        self._still.begin()

    # ── a leader elsewhere, on the same PostgreSQL ──

    def _take(self) -> bool:
        """Whether the database is ours now."""
        if self._served:
            self._free.begin()
            if not self._stands_still():
                return False
            self._oust()
        elif not self._let_go() and self._free.seconds(None) < FREE_S:
            return False
        return self._claim()

    def _stands_still(self) -> bool:
        who = self._leader
        return who is not None and self._standing and self._leased and self._stood_s(who) >= FAR_STILL_S

    def _stood_s(self, who: Member) -> float:
        """Counted anew for who has just taken the database, and has not yet written that it leads."""
        return self._still.seconds((who.id, who.beat, self._served))

    def _let_go(self) -> bool:
        """Whether nobody is about to come back: one of our own home has ended, another one has said that it goes."""
        who = self._leader
        return not self._standing or who is None or who.state != LEADS or self._is_here(who)

    def _oust(self) -> None:
        log.warning("the leader, %s, stands still; its sessions of the database are ended", self._leader)
        with self._db.aside() as tx:
            postgres.oust(tx, STILL_S)

    def _claim(self) -> bool:
        watch = Watch(self._db)
        try:
            watch.start()
        except Taken:
            return False
        self._farm.watch = watch
        return True

    def _check_shared(self) -> None:
        """Raises BadHome."""
        who = self._leader
        if self._served and who is not None and who.state == LEADS and who.shared != self._me.shared:
            what = f"this is not the home of the farm that {who} leads"
            remedy = "share that home's folder with this machine: its files, tokens and identity are part of the farm"
            raise BadHome(what, str(self._home.path), remedy)
