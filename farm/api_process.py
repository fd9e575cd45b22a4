"""A process that serves the whole API beside the one that leads, as many as anybody likes. It schedules nothing, needs
no lease, and owns nothing that others wait for: to kill or freeze it hurts those alone who speak with it just then."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from farm import roll
from farm.context import Farm, open_farm
from farm.db import explained
from farm.home import BadHome, Home
from farm.leader_link import LeaderLink
from farm.lease import ENDED, LEADS, Member
from farm.listening import Listener
from farm.news import News
from farm.place import parse_place
from farm.postgres import first_line
from farm.server import Server
from farm.watch import check_session

log = logging.getLogger(__name__)

LOOK_S = 1.0
DOORS_EVERY = 30  # looks
IDLE_S = 5.0  # on PostgreSQL a change in the middle of which we stand still is undone by then, and others go on
FRESH = timedelta(seconds=2)  # a token that was revoked through another process is good no longer than this


def serve(home: Home, listen: str | None) -> "ApiProcess":
    """Serve on a socket of the home, and with `listen` (HOST:PORT) there. Raises BadHome, BadConfig, BadDatabase,
    BadListening, Refusal."""
    home.make()
    home.make_doors()
    farm = open_farm(home)
    try:
        with explained(farm.db.where):
            if not farm.db.sqlite:
                check_session(farm.db)
                farm.db.hurry(IDLE_S)
            return _made(farm, listen)
    except BaseException:
        farm.close()
        raise


def _made(farm: Farm, listen: str | None) -> "ApiProcess":
    farm.tokens.fresh = FRESH
    farm.leader = LeaderLink(farm)
    farm.leader.look()
    _check_shared(farm, farm.leader.leader)
    if listen is not None:
        place = parse_place(listen)
        farm.listener = Listener(farm.home, farm.config.listen, place, farm.clock, leads=False)
    try:
        made = ApiProcess(farm)
        made.start()
    except BaseException:
        roll.door(farm.home).unlink(missing_ok=True)
        if farm.listener is not None:
            farm.listener.close()
        raise
    return made


def _check_shared(farm: Farm, leader: Member | None) -> None:
    """Raises BadHome."""
    mine = Member.here(farm.home, farm.clock)
    if leader is not None and leader.state == LEADS and leader.shared != mine.shared and not farm.db.sqlite:
        what = f"this is not the home of the farm that {leader} leads"
        remedy = "share that home's folder with this machine: its files, tokens and identity are part of the farm"
        raise BadHome(what, str(farm.home.path), remedy)


class ApiProcess:
    """Its threads: one that serves for each place, one that looks who leads, one for news, one for the doors."""

    def __init__(self, farm: Farm) -> None:
        assert farm.leader is not None
        self._farm, self._link = farm, farm.leader
        self._me = Member.here(farm.home, farm.clock)
        self._before = self._link.leader
        self._closed, self._ended = threading.Event(), threading.Event()
        self._stopping = threading.Lock()
        roll.sweep(farm.home)
        self._door = roll.door(farm.home)
        self._servers = []
        if farm.listener is not None:
            tls = farm.listener.tls
            self._servers.append(Server(farm, farm.listener.socket, tls.context if tls else None))
        self._servers.append(Server(farm, _bound(str(self._door))))
        self._news = News(farm)
        self._thread = threading.Thread(target=self._keep, name="roll", daemon=True)
        farm.stop = lambda **_options: self.hand_over()

    @property
    def ready(self) -> str:
        """What is said to who has started it: also where others reach it."""
        listener = self._farm.listener
        return f"ready {listener.url}" if listener is not None else "ready"

    def start(self) -> None:
        self._sign()
        for server in self._servers:
            server.start()
        self._news.start()
        self._thread.start()

    def hand_over(self) -> None:
        """End; an answer that is under way still goes out."""
        threading.Thread(target=self.stop, name="stopper", daemon=True).start()

    def stop(self) -> None:
        self._closed.set()
        with self._stopping:
            if self._ended.is_set():
                return
            for step in self._endings():
                try:
                    step()
                except Exception:
                    log.exception("going down")
            self._ended.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False when the time is up first."""
        return self._ended.wait(timeout)

    def _endings(self) -> list[Callable[[], object]]:
        listener = self._farm.listener
        return [
            self._close_door,
            self._farm.feed.close,
            self._news.stop,
            *(server.stop for server in self._servers),
            *([listener.close] if listener is not None else []),
            self._strike,
            self._farm.close,
        ]

    def _close_door(self) -> None:
        self._door.unlink(missing_ok=True)
        with suppress(OSError):  # others have theirs there
            self._farm.home.doors.rmdir()

    # ── who leads, and who we are ──

    def _keep(self) -> None:
        turns = 0
        while not self._closed.wait(LOOK_S):
            turns += 1
            try:
                self._link.look()
                if turns % 2 == 0:
                    self._sign()
                if turns % DOORS_EVERY == 0:
                    self._look_after_doors()
            except (SQLAlchemyError, OSError) as error:
                log.info("who leads can't be told: %s", first_line(getattr(error, "orig", error)))
            if self._went_down():
                log.info("the farm goes down, and this process with it")
                self.hand_over()
                return

    def _went_down(self) -> bool:
        """Whether somebody has told the whole farm to go down since we serve."""
        now, before = self._link.leader, self._before
        return now is not None and now.state == ENDED and not (before and before.id == now.id and before.state == ENDED)

    def _sign(self) -> None:
        """On SQLite the socket says it, and nobody writes but the leader."""
        if self._farm.db.sqlite:
            return
        self._me = replace(self._me, beat=self._me.beat + 1)
        with self._farm.db.aside() as tx:
            roll.write(tx, self._me, self._farm.clock.now())

    def _look_after_doors(self) -> None:
        listener = self._farm.listener
        if listener is not None and listener.tls is not None:
            listener.tls.refresh()
        if not self._farm.db.sqlite:
            self._farm.tokens.write_used()

    def _strike(self) -> None:
        if not self._farm.db.sqlite:
            with suppress(SQLAlchemyError), self._farm.db.aside() as tx:
                roll.strike(tx, self._me)


def _bound(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen(512)
    return made
