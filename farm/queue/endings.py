"""Attempts that have ended for us and are told to end where they run: cancelled ones, and those that were given up.

What they were given is theirs until their executor says that they have ended, or has ended itself: a device is never
given to two tasks, not even for the seconds that a task has between TERM and KILL.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, or_, select, text, update

from executors.contract import Running
from farm import tables as t
from farm.model import AttemptState, ExecutorState
from farm.reference import Reference, parse_reference
from farm.tables import AnyRow

GRACE = timedelta(seconds=5)  # between TERM and KILL
ASK_AGAIN = timedelta(seconds=20)  # one whose end has not been told by then may never have arrived: it is asked for
MOST = timedelta(minutes=15)  # what an executor held that is lost is free then, if nobody ever says that it has ended

_COLUMNS = ("job", "number", "ordinal", "executor", "token", "given", "licences", "since", "asked")
_HOLDS = (
    select(t.Attempt.job, t.Attempt.number, t.Attempt.ordinal, t.Attempt.executor, t.Attempt.token, t.Attempt.given)
    .add_columns(t.Step.licences, bindparam("at", type_=t.Utc()), bindparam("at", type_=t.Utc()))
    .join(t.Step, and_(t.Step.job == t.Attempt.job, t.Step.ordinal == t.Attempt.step))
    .where(or_(t.Attempt.given.is_not(None), t.Step.licences.is_not(None)))
)
_OPEN = _HOLDS.where(text("attempt.finished IS NULL"))
_OF_JOB = _OPEN.where(t.Attempt.job == bindparam("j"))
_OF_TASK = _OF_JOB.where(t.Attempt.number == bindparam("n"))
_ON = _OPEN.where(t.Attempt.executor == bindparam("e"))
_NOT_BEGUN = _ON.where(t.Attempt.state == AttemptState.CLAIMED)
_STILL_THERE = _HOLDS.where(
    t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o")
).where(
    t.Attempt.token == bindparam("t"),
    t.Attempt.finished.is_not(None),
    ~exists().where(
        t.Ending.job == t.Attempt.job, t.Ending.number == t.Attempt.number, t.Ending.ordinal == t.Attempt.ordinal
    ),
)
_BEGIN_JOB, _BEGIN_TASK, _BEGIN_ON, _BEGIN_NOT_BEGUN, _BEGIN_STRANGER = (
    insert(t.Ending).from_select(_COLUMNS, found) for found in (_OF_JOB, _OF_TASK, _ON, _NOT_BEGUN, _STILL_THERE)
)
_THIS = (
    t.Ending.job == bindparam("j"),
    t.Ending.number == bindparam("n"),
    t.Ending.ordinal == bindparam("o"),
    t.Ending.token == bindparam("t"),
)
_END = delete(t.Ending).where(*_THIS)
_ASKED = update(t.Ending).where(*_THIS).values(asked=bindparam("at"))
_AT = (
    select(t.Ending)
    .join(t.Executor, t.Executor.id == t.Ending.executor)
    .where(t.Executor.site == bindparam("site"), t.Executor.id.in_(bindparam("ids", expanding=True)))
)
_ALIVE = (ExecutorState.BOOTING, ExecutorState.READY, ExecutorState.DRAINING)
_ALL = select(t.Ending, t.Executor.pool, t.Executor.site, t.Executor.state.in_(_ALIVE).label("alive")).outerjoin(
    t.Executor, t.Executor.id == t.Ending.executor
)
_GIVEN = select(t.Ending.executor, t.Ending.given, t.Ending.since).where(t.Ending.given.is_not(None))
_LICENSED = select(t.Ending.executor, t.Ending.job, t.Ending.licences).where(t.Ending.licences.is_not(None))


def of_job(tx: Connection, job: int, number: int | None, now: datetime) -> None:
    """All that this job, or one task of it, has on executors is about to be cancelled."""
    if number is None:
        tx.execute(_BEGIN_JOB, {"j": job, "at": now})
    else:
        tx.execute(_BEGIN_TASK, {"j": job, "n": number, "at": now})


def of_executor(tx: Connection, executor: str, now: datetime) -> None:
    """All that it has is about to be lost: it may live all the same, until its provider has ended it."""
    tx.execute(_BEGIN_ON, {"e": executor, "at": now})


def not_begun(tx: Connection, executor: str, now: datetime) -> None:
    """What has not begun there, as far as we know, is about to be taken back from it."""
    tx.execute(_BEGIN_NOT_BEGUN, {"e": executor, "at": now})


def ended(tx: Connection, ref: Reference, token: int) -> bool:
    """Its executor says that it has; whether that frees anything."""
    return bool(tx.execute(_END, {"j": ref.job, "n": ref.number, "o": ref.ordinal, "t": token}).rowcount)


def settled(tx: Connection, site: str, joined: Collection[str], strangers: Iterable[Running], now: datetime) -> None:
    """A site has said what runs there that should not, on the executors that have `joined` all of it."""
    there = {(parse_reference(one.attempt), one.token) for one in strangers}
    for ref, token in there:
        tx.execute(_BEGIN_STRANGER, {"j": ref.job, "n": ref.number, "o": ref.ordinal, "t": token, "at": now})
    for row in tx.execute(_AT, {"site": site, "ids": list(joined)}).all():
        if (Reference(row.job, row.number, row.ordinal), row.token) not in there:
            _free(tx, row)


def look(tx: Connection, gone: Callable[[str, str, datetime], bool], now: datetime) -> list[str]:
    """Free what executors had that have `gone`, by id, pool and since when they are lost. The sites that are to be
    asked what runs there: they have not told of an end that is due."""
    sites: list[str] = []
    for row in tx.execute(_ALL).all():
        since = min(row.since, now)  # the clock may have been set back
        if not row.alive and (now - since > MOST or gone(row.executor, row.pool or "", since)):
            _free(tx, row)
        elif abs(now - row.asked) > ASK_AGAIN:
            tx.execute(_ASKED, {**_key(row), "at": now})
            sites += [row.site] if row.alive else []
    return list(dict.fromkeys(sites))


def given(tx: Connection) -> Sequence[AnyRow]:
    """executor, given, since."""
    return tx.execute(_GIVEN).all()


def licensed(tx: Connection) -> Iterable[AnyRow]:
    """executor, job, licences."""
    return tx.execute(_LICENSED)


def _free(tx: Connection, row: AnyRow) -> None:
    tx.execute(_END, _key(row))


def _key(row: AnyRow) -> dict[str, int]:
    return {"j": row.job, "n": row.number, "o": row.ordinal, "t": row.token}
