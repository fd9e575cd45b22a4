"""A pool that failed is left alone for a while, each time for longer."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, or_, update

from executors.errors import ProviderError, SoldOut
from farm import fleet
from farm import tables as t

BREAKER = timedelta(seconds=60)  # after the first failure; doubles
BREAKER_MAX = timedelta(minutes=15)
SOLD_OUT = "sold out: "
_QUOTA = ("quota", "limit exceeded", "limitexceeded")  # in what providers say

_BREAK = (
    update(t.PoolFact)
    .where(t.PoolFact.name == bindparam("p"))
    .values(failures=bindparam("n"), breaker_until=bindparam("u"), error=bindparam("e"))
)
_CLOSE = (
    update(t.PoolFact)
    .where(t.PoolFact.name == bindparam("p"))
    .where(or_(t.PoolFact.error.contains(bindparam("e")), t.PoolFact.error == ""))  # "": one has joined meanwhile
    .values(failures=0, breaker_until=None, error="")
)


def told(error: ProviderError) -> str:
    """What the provider said, and first what that means where it is told apart."""
    return f"{SOLD_OUT}{error}" if isinstance(error, SoldOut) else str(error)


def quota(error: str) -> bool:
    """Whether it is the account that may have no more, by the provider's words."""
    return any(word in error.lower() for word in _QUOTA)


def close_breaker(tx: Connection, pool: str, error: str) -> None:
    """What made it open is over; one that is open for another reason stays so."""
    tx.execute(_CLOSE, {"p": pool, "e": error})


def open_breaker(tx: Connection, pool: str, error: str, now: datetime) -> None:
    """Executors of one order that fail together are one failure: an open breaker stays as it is."""
    fact = fleet.pool_row(tx, pool)
    if fact.breaker_until is not None and fact.breaker_until > now:
        return
    wait = min(BREAKER * 2**fact.failures, BREAKER_MAX)
    tx.execute(_BREAK, {"p": pool, "n": fact.failures + 1, "u": now + wait, "e": error})
