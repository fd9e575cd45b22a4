"""How a machine elsewhere becomes an executor: invited by a secret, which it exchanges for its own token, once."""

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from executors.invitation import PROTOCOL, Invitation, Invite
from executors.site.protocol import PROTOCOL as SYNC
from farm import fleet
from farm import tables as t
from farm.auth import create_machine_token
from farm.breaker import open_breaker
from farm.model import ExecutorState, OrderState
from farm.refusal import Refusal
from farm.tables import AnyRow

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

KEPT = 1000  # failures of all pools; anybody can fail
SHOWN = 3
_NAMES = {"protocol": "the words by which one joins", "sync": "`sync`"}

_JOINED = select(t.Joined).where(t.Joined.executor == bindparam("e"))
_JOIN = insert(t.Joined)
_EXECUTOR = select(t.Executor.pool, t.Executor.state, t.Executor.why).where(t.Executor.id == bindparam("e"))
_ORDER = select(t.Order.pool, t.Order.state, t.Order.machines).where(t.Order.token == bindparam("k"))
_FAIL = insert(t.JoinFailure)
_FORGET = delete(t.JoinFailure).where(t.JoinFailure.id <= select(func.max(t.JoinFailure.id) - KEPT).scalar_subquery())
_LAST = (
    select(t.JoinFailure)
    .where(t.JoinFailure.pool == bindparam("p"))
    .order_by(t.JoinFailure.id.desc())
    .limit(bindparam("n"))
)


class NotWelcome(Refusal):
    """This machine does not become an executor here."""

    status = 403


@dataclass(frozen=True, slots=True)
class Asked:
    """What a machine says when it comes. `nonce` is its own: who lost our answer asks again with the same."""

    farm: str
    pool: str
    executor: str
    secret: str
    nonce: str = ""
    protocol: int = PROTOCOL
    sync: int = 1  # the version of `sync` that it speaks; the first programs did not say
    version: str = ""
    python: str = ""
    ray: str = ""
    host: str = ""


def secret_of(key: bytes, farm: str, pool: str, executor: str) -> str:
    """Good for this executor alone. Always the same, so that a launch that is repeated repeats the same words."""
    return "join_" + hmac.new(key, "\0".join((farm, pool, executor)).encode(), hashlib.sha256).hexdigest()


def inviter(farm: "Farm", pool: str, url: str, ca: Callable[[], str], lease: timedelta, setup: str) -> Invite:
    """What makes the invitations of a pool's executors; `ca` tells whom they have to trust now."""
    key, engine = farm.home.join_key(), farm.config.site.engine

    def invite(executor: str, slots: int) -> Invitation:
        secret = secret_of(key, farm.id, pool, executor)
        return Invitation(
            url, ca(), farm.id, pool, executor, slots, secret, lease.total_seconds(), engine=engine, setup=setup
        )

    return invite


def exchange(farm: "Farm", asked: Asked) -> str:
    """The token of this executor's own. Raises NotWelcome; why is kept for `farm why pool`."""
    now = farm.clock.now()
    try:
        _check(farm, asked)  # before the writer is taken: anybody can ask
        with farm.db.write() as tx:
            _check_wanted(tx, asked)
            _spend(tx, asked, now)
            return create_machine_token(tx, asked.executor, asked.pool, now)
    except NotWelcome as error:
        _keep(farm, asked, error.what, now)
        raise


def failed(farm: "Farm", asked: Asked, what: str) -> None:
    """A machine says why it can't join: its order is over, and the pool is left alone for a while. Raises NotWelcome
    for who was not invited."""
    if not _genuine(farm, asked):
        raise _wrong(asked)
    now = farm.clock.now()
    what = what.replace(asked.secret, "…")
    _keep(farm, asked, what, now)
    with farm.db.write() as tx:
        row = tx.execute(_EXECUTOR, {"e": asked.executor}).one_or_none()
        if row is not None and row.state == ExecutorState.BOOTING:
            why = f"it could not join: {what}"
            fleet.lost(tx, asked.executor, why, now)
            open_breaker(tx, asked.pool, f"executor {asked.executor}: {why}", now)
    farm.wake()


def last_failures(tx: Connection, pool: str) -> list[Mapping[str, Any]]:
    """The last machines that could not join, the newest first."""
    rows: Sequence[AnyRow] = tx.execute(_LAST, {"p": pool, "n": SHOWN}).all()
    return [{"at": r.at, "executor": r.executor, "host": r.host, "what": r.what} for r in rows]


def _keep(farm: "Farm", asked: Asked, what: str, now: datetime) -> None:
    """One line in the log at a time, and of those without a ticket one row at a time: anybody can fail."""
    if (unsaid := farm.refusals.joins.take()) is not None:
        more = f" ({unsaid} more were not told here)" if unsaid else ""
        log.warning("executor %a of pool %a can't join: %a%s", asked.executor, asked.pool, what, more)
    if asked.pool not in farm.config.pools or not (_genuine(farm, asked) or farm.refusals.stranger(asked.pool)):
        return
    row = {"at": now, "pool": asked.pool, "executor": asked.executor, "host": asked.host}
    with farm.db.write() as tx:
        tx.execute(_FAIL, {**row, "what": what})
        tx.execute(_FORGET)


def _check(farm: "Farm", asked: Asked) -> None:
    """What needs no database. Raises NotWelcome."""
    for name, theirs, ours in (("protocol", asked.protocol, PROTOCOL), ("sync", asked.sync, SYNC)):
        if abs(theirs - ours) > 1:
            age = "old" if theirs < ours else "new"
            what = f"its program is too {age}: it speaks version {theirs} of {_NAMES[name]}, this farm {ours}"
            raise NotWelcome(what, name, "fetch the program from this farm: GET /v1/executor.pyz")
    if asked.farm != farm.id:
        what = f"its ticket is of the farm {asked.farm[:40]!r}, and this is {farm.id!r}"
        raise NotWelcome(what, "farm", "give it a ticket of this farm, or its own farm's address")
    if not _genuine(farm, asked):
        raise _wrong(asked)


def _check_wanted(tx: Connection, asked: Asked) -> None:
    """Raises NotWelcome."""
    if why := _unwanted(tx, asked):
        raise NotWelcome(why, "executor", "its ticket is of no more use: end this machine")


def _genuine(farm: "Farm", asked: Asked) -> bool:
    return hmac.compare_digest(
        asked.secret.encode(), secret_of(farm.home.join_key(), farm.id, asked.pool, asked.executor).encode()
    )


def _wrong(asked: Asked) -> NotWelcome:
    what = f"its secret is not that of executor {asked.executor[:80]!r} in pool {asked.pool[:80]!r}"
    return NotWelcome(what, "secret", "a ticket is good for one executor of one pool; it is not passed on")


def _unwanted(tx: Connection, asked: Asked) -> str:
    """Why it has no place here; "" when it has one."""
    row = tx.execute(_EXECUTOR, {"e": asked.executor}).one_or_none()
    if row is not None:
        if row.state in (ExecutorState.BOOTING, ExecutorState.READY):
            return ""
        leaving = row.state == ExecutorState.DRAINING
        return f"executor {asked.executor} is {'not needed any more' if leaving else 'given up'}: {row.why}"
    token, _, number = asked.executor.rpartition("-")
    order = tx.execute(_ORDER, {"k": token}).one_or_none()
    if order is None or order.pool != asked.pool or not number.isdecimal():
        return f"executor {asked.executor} was never ordered"
    if order.state not in (OrderState.OPEN, OrderState.PLACED):
        return f"the order of executor {asked.executor} is over"
    return ""


def _spend(tx: Connection, asked: Asked, now: datetime) -> None:
    """The secret is used up, but for who used it first. Raises NotWelcome."""
    nonce = hashlib.sha256(asked.nonce.encode()).hexdigest()
    before = tx.execute(_JOINED, {"e": asked.executor}).one_or_none()
    if before is None:
        row = {"executor": asked.executor, "pool": asked.pool, "at": now, "nonce": nonce}
        tx.execute(_JOIN, {**row, "host": asked.host, "python": asked.python, "ray": asked.ray})
    elif not asked.nonce or before.nonce != nonce:
        what = f"its ticket was used before, by {before.host or 'a machine without a name'}"
        raise NotWelcome(what, "secret", "a ticket is good once; a machine that starts again is ordered again")
