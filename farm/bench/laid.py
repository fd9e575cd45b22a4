"""Tasks of an array that ended well, laid down as copies of one that did: a past that would take too long to live."""

from typing import Any

from sqlalchemy import BigInteger, Connection, String, bindparam, cast, insert, literal, select, update

from farm import tables as t
from farm.db import Database

GROUP = 50_000  # tasks of one transaction

_LOW, _HIGH = bindparam("low", type_=BigInteger), bindparam("high", type_=BigInteger)
_NUMBERS: Any = select(_LOW.label("n")).cte("numbers", recursive=True)
_NUMBERS = _NUMBERS.union_all(select(_NUMBERS.c.n + 1).where(_NUMBERS.c.n < _HIGH))
_OWN = {
    "number": _NUMBERS.c.n,
    "position": _NUMBERS.c.n - 1,
    "name": cast(_NUMBERS.c.n, String),
}


def _copies(table: Any) -> Any:
    columns = [_OWN.get(column.name, column) for column in table.c]
    found = select(*columns).where(table.c.job == bindparam("j"), table.c.number == 1).join(_NUMBERS, literal(1) == 1)
    return insert(table).from_select([column.name for column in table.c], found, include_defaults=False)


_TASKS, _ATTEMPTS = _copies(t.Task.__table__), _copies(t.Attempt.__table__)
_STEP = update(t.Step).where(t.Step.job == bindparam("j"), t.Step.ordinal == 0)
_STEP = _STEP.values(next=bindparam("high"), left=t.Step.left - bindparam("more"))
_JOB = update(t.Job).where(t.Job.id == bindparam("j")).values(done=t.Job.done + bindparam("more"))
_NEXT = select(t.Step.next).where(t.Step.job == bindparam("j"), t.Step.ordinal == 0)


def lay(database: Database, job: int, upto: int) -> None:
    """Of the one array of `job`, whose first task has ended by its only attempt, all tasks up to this number."""
    while True:
        with database.write() as tx:
            if not _lay(tx, job, upto):
                return


def _lay(tx: Connection, job: int, upto: int) -> bool:
    done = int(tx.execute(_NEXT, {"j": job}).scalar_one())
    high = min(upto, done + GROUP)
    if high <= done:
        return False
    for statement in (_TASKS, _ATTEMPTS):
        tx.execute(statement, {"j": job, "low": done + 1, "high": high})
    about = {"j": job, "high": high, "more": high - done}
    tx.execute(_STEP, about)
    tx.execute(_JOB, about)
    return True
