"""Which token a secret is, asked with every call: remembered, but never beyond its end."""

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import bindparam, update

from farm import auth
from farm import tables as t
from farm.auth import Known, Principal
from farm.clock import Clock
from farm.db import Database

FRESH = timedelta(seconds=30)  # another process may have revoked it
USED_EVERY = timedelta(minutes=1)
MOST = 10_000  # tokens that are remembered
_USED = update(t.Token).where(t.Token.id == bindparam("i")).values(used=bindparam("at"))


class Tokens:
    """The tokens of one farm. Every method may be called from any thread."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db, self._clock = db, clock
        self.fresh = FRESH
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Known, datetime]] = {}  # by id, with the time of reading
        self._forgotten = 0  # how often; what was read before is not remembered after
        self._used: dict[str, datetime] = {}  # since the last writing
        self._written: dict[str, datetime] = {}

    def principal(self, secret: str) -> Principal | None:
        """Who that is; None for a secret that is wrong, expired or revoked."""
        found = self.remembered(secret) or self.look(secret)
        return None if found is None or found.bad(self._clock.now()) else found.principal

    def remembered(self, secret: str) -> Known | None:
        """Without asking the database; None when that is needed, or when the secret is wrong."""
        number = auth.token_id(secret)
        known, at = self._known.get(number, (None, None))
        now = self._clock.now()
        if known is None or at is None or now - at > self.fresh or now < at or not auth.matches(secret, known):
            return None
        self._note(number, now)
        return known

    def look(self, secret: str) -> Known | None:
        """The same with the database; also one that is good no more."""
        number, now, before = auth.token_id(secret), self._clock.now(), self._forgotten
        if not number:
            return None
        with self._db.read() as tx:
            found = auth.find(tx, number)
        if found is None or not auth.matches(secret, found):
            return None
        with self._lock:
            if before == self._forgotten and not found.bad(now):
                self._room()
                self._known[number] = (found, now)
        self._note(number, now)
        return found

    def _room(self) -> None:
        while len(self._known) >= MOST:
            del self._known[next(iter(self._known))]

    def forget(self, numbers: Iterable[str]) -> None:
        """They were revoked: from now on nobody gets on with them. Call it once that is committed."""
        with self._lock:
            self._forgotten += 1
            for number in numbers:
                self._known.pop(number, None)

    def _note(self, number: str, now: datetime) -> None:
        if now - self._written.get(number, now - 2 * USED_EVERY) >= USED_EVERY:
            self._used[number] = now

    def write_used(self) -> None:
        """Write down when tokens were last used."""
        with self._lock:
            used, self._used = self._used, {}
        if not used:
            return
        with self._db.write() as tx:
            tx.execute(_USED, [{"i": number, "at": at} for number, at in used.items()])
        self._written = {n: at for n, at in self._written.items() if self._clock.now() - at < USED_EVERY} | used
