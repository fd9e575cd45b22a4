"""Is a farm's database as it should be? Looks only; works beside a running service, in one consistent view."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from farm.db import HEAD, BadDatabase, Database, bearable, check, explained, revision
from farm.integrity_rules import BOOKS, RESTORE, RULES, Rule
from farm.ledger import HOUR
from farm.tables import AnyRow

MOST = 20  # findings of one rule that are told one by one

_BOOKED = text(
    "SELECT executor, since, until, price_nano, SUM(micros) AS micros, SUM(cost_nano) AS cost FROM ledger "
    "GROUP BY executor, since, until, price_nano ORDER BY executor, since, until"
)
_EXECUTORS = text("SELECT id, launched, billed_until, billed_rest, ended, closed FROM executor")
_OUTPUTS = "SELECT job, number, outputs FROM task WHERE state = 'done' AND outputs IS NOT NULL ORDER BY job, number"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, and what to do about it."""

    rule: str
    what: str
    remedy: str


def examine(file: Path, has: Callable[[str], bool] | None = None) -> Iterator[Finding]:
    """`look` at the database in `file`."""
    database = Database.file(file)
    try:
        yield from look(database, has)
    finally:
        database.close()


def look(database: Database, has: Callable[[str], bool] | None = None) -> Iterator[Finding]:
    """Everything that is wrong with it. With `has`, also outputs that the store has not.

    Raises BadDatabase for one that can't be read at all: no database, locked, newer, another program's.
    """
    where = database.where
    check(database, where)
    found = revision(database, where)
    if found is not None and found > HEAD and not bearable(database, found):
        raise BadDatabase(where, f"it was written by a newer farm (schema {found}); use the farm that made it")
    if found is None or found < HEAD:
        yield Finding("schema", f"the schema is {found or 'empty'}, not {HEAD}", "`farm up` brings it up to date")
        return
    with explained(where), database.read() as tx:
        yield from findings(tx)
        outputs = tx.execute(text(_OUTPUTS)).all() if has is not None else ()
    if (
        has is not None
    ):  # a look at every file takes its time, and PostgreSQL cuts off who stands still in a transaction
        yield from _missing(outputs, has)


def findings(tx: Connection) -> Iterator[Finding]:
    """What is wrong as this transaction sees it."""
    if tx.engine.dialect.name == "sqlite":
        yield from _sqlite(tx)
    for rule in RULES:
        yield from _broken(tx, rule)
    yield from ledger(tx)


def _sqlite(tx: Connection) -> Iterator[Finding]:
    """What SQLite itself finds: pages, indexes, foreign keys."""
    for (said,) in tx.exec_driver_sql(f"PRAGMA integrity_check({MOST})"):
        if said != "ok":
            yield Finding("pages", str(said), RESTORE)
    for row in tx.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(MOST):
        yield Finding("orphans", f"row {row[1]} of {row[0]} points to a {row[2]} that is not there", RESTORE)


def _broken(tx: Connection, rule: Rule) -> Iterator[Finding]:
    rows = tx.execute(text(rule.query)).mappings().fetchmany(MOST + 1)
    for row in rows[:MOST]:
        yield Finding(rule.name, rule.says.format(**row), rule.remedy.format_map(_Row(row)))
    if len(rows) > MOST:
        yield Finding(rule.name, f"and more than {MOST} such findings", rule.remedy.format(job="JOB"))


class _Row(dict[str, Any]):
    """A remedy names the job where there is one."""

    def __missing__(self, key: str) -> str:
        return key.upper()


# ── the bill ──


@dataclass(slots=True)
class _Bill:
    """What the ledger says of one executor."""

    since: int
    until: int
    worth: int = 0  # Σ microseconds · price
    cost: int = 0


def ledger(tx: Connection) -> Iterator[Finding]:
    """Each executor is billed from its launch on without a gap, and Σ cost = Σ time · price to the nano-unit.

    What a division left over is carried on by the executor's row, so the sums are equal exactly, in integers.
    """
    bills: dict[str, _Bill] = {}
    for row in tx.execute(_BOOKED):
        bill = bills.setdefault(row.executor, _Bill(row.since, row.since))
        if row.since != bill.until:
            yield _books(row.executor, f"has a hole or an overlap of {row.since - bill.until} µs at {row.since}")
        if row.micros != row.until - row.since:
            yield _books(row.executor, f"books {row.micros} µs of a stretch of {row.until - row.since} µs")
        bill.until = row.until
        bill.worth += int(row.micros) * int(row.price_nano)
        bill.cost += int(row.cost)
    for executor in tx.execute(_EXECUTORS):
        yield from _sum(executor, bills.get(executor.id) or _Bill(executor.launched, executor.launched))


def _sum(executor: Any, bill: _Bill) -> Iterator[Finding]:
    if bill.since != executor.launched:
        yield _books(executor.id, f"begins {bill.since - executor.launched} µs after its launch")
    if bill.until != executor.billed_until:
        yield _books(executor.id, f"ends at {bill.until}, it should be {executor.billed_until}")
    if executor.closed and executor.ended and executor.billed_until != executor.ended:
        yield _books(executor.id, f"is complete and {executor.billed_until - executor.ended} µs longer than its life")
    if bill.worth != bill.cost * HOUR + executor.billed_rest:
        lacks = bill.worth - bill.cost * HOUR - executor.billed_rest
        yield _books(executor.id, f"differs by {lacks / HOUR:g} nano-units from its time · price")


def _books(executor: str, what: str) -> Finding:
    return Finding("ledger", f"the bill of executor {executor} {what}", BOOKS)


# ── the store ──


def _missing(outputs: Iterable[AnyRow], has: Callable[[str], bool]) -> Iterator[Finding]:
    import json

    for row in outputs:
        files = json.loads(row.outputs) if isinstance(row.outputs, str) else row.outputs
        for file in files or ():
            if not has(file["digest"]):
                what = f"{file['path']}, an output of task {row.job}.{row.number}, is not in the store"
                yield Finding("files", what, f"`farm submit` job {row.job} again, or restore the store from a backup")
