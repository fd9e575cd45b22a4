"""Who leads a farm, and who stands by: a row each, which its process rewrites. Whoever watches goes by how long it has
itself seen a row stand still, so that nobody's clock matters."""

import hashlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from executors.site.process import Process
from farm import postgres
from farm import tables as t
from farm.clock import Clock, ServerClock
from farm.db import Database, Superseded
from farm.home import Home

log = logging.getLogger(__name__)

RENEW_S = 1.0
GONE_S = 10.0  # a standby whose row stood still for longer is none
LEADS, HANDED_OVER, ENDED = "leads", "handed over", "ended"
_LEADER, _STANDBY = "leader", "standby:"
_LED = "led"  # in table meta: the term in which the leader of that row began, and its id

_VALUE = select(t.Meta.value).where(t.Meta.key == bindparam("k"))
_STANDBYS = select(t.Meta.key, t.Meta.value).where(t.Meta.key.like(f"{_STANDBY}%"))
_ADD = insert(t.Meta)
_SET = update(t.Meta).where(t.Meta.key == bindparam("k")).values(value=bindparam("v"))
_TERM = select(t.Meta.value).where(t.Meta.key == "term").scalar_subquery()
_RENEW = _SET.where(bindparam("term") == _TERM)
_DROP = delete(t.Meta).where(t.Meta.key == bindparam("k"))


@dataclass(frozen=True, slots=True)
class Member:
    """A process that leads the farm, or would. `started` is in clock ticks since boot; `beat` grows while it lives."""

    id: str
    home: str
    host: str
    pid: int
    started: int
    since: str  # ISO
    shared: str  # what the homes of one farm have in common, as a digest
    beat: int = 0
    state: str = LEADS

    @classmethod
    def here(cls, home: Home, clock: Clock) -> "Member":
        me = Process.of(os.getpid())
        since = clock.now().isoformat(timespec="seconds")
        return cls(secrets.token_hex(8), str(home.path), socket.gethostname(), me.pid, me.started, since, shared(home))

    @classmethod
    def of(cls, text: str | None) -> "Member | None":
        """None also for a row that another version of the farm wrote otherwise."""
        try:
            return cls(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None

    def text(self) -> str:
        return json.dumps(asdict(self))

    def about(self) -> dict[str, object]:
        """For people."""
        return {"home": self.home, "host": self.host, "pid": self.pid, "since": self.since}

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (home {self.home})"


def shared(home: Home) -> str:
    """The same in all homes that may lead one farm: its identity, its token, what invitations are made with."""
    text = "|".join((home.identity(), home.token(), home.join_key().decode()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def leader(tx: Connection) -> Member | None:
    """Who led last, leading still or not."""
    return Member.of(tx.execute(_VALUE, {"k": _LEADER}).scalar_one_or_none())


def take(tx: Connection, who: Member) -> None:
    """From this term on it leads."""
    _put(tx, _LEADER, who.text())
    _put(tx, _LED, f"{postgres.term(tx)} {who.id}")


def leads(tx: Connection, who: Member) -> bool:
    """Whether this row is that of who leads now: an older farm has terms, and writes no such row."""
    term, _, led = (tx.execute(_VALUE, {"k": _LED}).scalar_one_or_none() or "").partition(" ")
    return led != who.id or term == str(postgres.term(tx))


def register(tx: Connection, who: Member) -> None:
    """It stands by, and did so just now."""
    _put(tx, _STANDBY + who.id, who.text())


def leave(tx: Connection, who: Member) -> None:
    """It does not stand by any longer."""
    tx.execute(_DROP, {"k": _STANDBY + who.id})


def _put(tx: Connection, key: str, value: str) -> None:
    if not tx.execute(_SET, {"k": key, "v": value}).rowcount:
        tx.execute(_ADD, {"key": key, "value": value})


class Stillness:
    """For how long a value has been seen not to change."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last: object = None
        self._since = monotonic()

    def seconds(self, value: object) -> float:
        if value != self._last:
            self._last, self._since = value, self._monotonic()
        return self._monotonic() - self._since

    def begin(self) -> None:
        """Count anew."""
        self._since = self._monotonic()


class Lease:
    """A thread of the service that leads: renews its row, and sees who stands by. By a connection of its own: who has
    so much to do that all others are taken is not to be taken for frozen."""

    def __init__(self, db: Database, clock: Clock, who: Member, lost: Callable[[], None]) -> None:
        self._db, self._clock, self._who, self._lost = db, clock, who, lost
        self._standbys: dict[str, tuple[Member, Stillness]] = {}
        self._closed = threading.Event()
        self._writing = threading.Lock()  # what was said last is what stands there
        self._thread = threading.Thread(target=self._renewing, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, state: str) -> None:
        """Tell those that stand by what becomes of the farm. Who ends it is not to be taken for frozen meanwhile, so
        the lease goes on; for who hands over nobody has to wait long. Raises Superseded, DBAPIError."""
        if state == HANDED_OVER:
            self.close()
            if self._db.sqlite:  # the home's lock says it; nobody waits for who locks the file
                return
        self._renew(state)

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def leader(self) -> Member:
        return self._who

    def standbys(self) -> Sequence[Member]:
        """Those that are alive."""
        return [who for who, still in list(self._standbys.values()) if still.seconds(who.beat) < GONE_S]

    def _renewing(self) -> None:
        told = False  # once, however long it lasts
        while not self._closed.is_set():
            try:
                self.turn()
                told = False
            except Superseded as error:
                log.error("%s; this one ends", error)
                self._lost()
                return
            except Exception as error:
                if not told:
                    log.warning("the lease can't be renewed: %s", error)
                told = True
            self._closed.wait(RENEW_S)

    def turn(self) -> None:
        """Raises Superseded, DBAPIError."""
        if isinstance(self._clock, ServerClock):
            self._clock.look()
        self._look()
        if self._standbys or not self._db.sqlite:  # on an idle laptop no disk is woken for nobody
            self._renew()

    def _renew(self, state: str = "") -> None:
        """Raises Superseded, DBAPIError."""
        with self._writing:
            self._who = replace(self._who, beat=self._who.beat + 1, state=state or self._who.state)
            values = {"k": _LEADER, "v": self._who.text(), "term": str(self._db.term)}
            with self._db.beside.aside() as tx:
                if not tx.execute(_RENEW, values).rowcount:
                    raise Superseded(self._db.where)

    def _look(self) -> None:
        with self._db.beside.read() as tx:
            found = {row.key: Member.of(row.value) for row in tx.execute(_STANDBYS)}
        for key, who in found.items():
            if who is None:
                continue
            _, still = self._standbys.get(key, (None, Stillness()))
            if still.seconds(who.beat) < GONE_S:
                self._standbys[key] = who, still
            else:
                self._forget(key)
        for key in self._standbys.keys() - found.keys():
            del self._standbys[key]

    def _forget(self, key: str) -> None:
        """It went without a word."""
        self._standbys.pop(key, None)
        with self._db.beside.aside() as tx:
            tx.execute(_DROP, {"k": key})
