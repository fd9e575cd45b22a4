"""A farm moves: all rows from one database into another, SQLite or PostgreSQL, with nothing lost."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Integer, String, Table, cast, func, insert, select, text

from farm import postgres
from farm.database_url import Address
from farm.db import HEAD, BadDatabase, Database, explained, migrate, revision
from farm.refusal import Conflict, Unavailable
from farm.tables import Base, Utc

_PART = 10**9
GROUP = 2000  # rows that are under way at a time
Tell = Callable[[str, int], None]


def copy(source: Address, target: Address, tell: Tell = lambda _table, _rows: None) -> Mapping[str, int]:
    """Table → rows that were copied. Raises Conflict when a service runs on either or `target` holds a farm already,
    BadDatabase, and Unavailable when what arrived is not what was sent; then the target is as empty as before."""
    if source.where == target.where:
        raise Conflict("a database can't be copied onto itself", target.where, "name another one")
    with ExitStack() as held:
        for place in (source, target):
            held.enter_context(idle(place))
        _private(target)
        old, new = (held.enter_context(closing(place.connect())) for place in (source, target))
        _ready(old, new)
        with explained(source.where), old.write() as here, explained(target.where), new.write() as there:
            _bear(here)
            _bear(there)
            return {table.name: _table(here, there, table, tell) for table in Base.metadata.sorted_tables}


def _private(place: Address) -> None:
    """A new file is the farm's alone, as in its home. Where none can be made, who opens it says so."""
    if place.path is not None:
        with suppress(OSError):
            os.close(os.open(place.path, os.O_CREAT | os.O_WRONLY, 0o600))


def _bear(tx: Connection) -> None:
    """One of the two may work for minutes while the other has nothing to do: that is no process that was frozen."""
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def _ready(old: Database, new: Database) -> None:
    found = revision(old, old.where)
    if found != HEAD:
        what = "there is no farm in it" if found is None else f"its schema is {found}, not {HEAD}"
        raise BadDatabase(old.where, f"{what}; `farm database migrate` brings one up to date")
    migrate(new, new.where)
    with explained(new.where), new.read() as tx:
        full = [table.name for table in _own_tables() if tx.execute(select(1).select_from(table).limit(1)).first()]
    if full:
        raise Conflict("there is a farm in it already", new.where, "name an empty database")


def _own_tables() -> list[Table]:
    """All but the one that migrations themselves write."""
    return [table for table in Base.metadata.sorted_tables if table.name != "meta"]


def _table(here: Connection, there: Connection, table: Table, tell: Tell) -> int:
    if table.name == "meta":
        there.execute(table.delete())
    copied = 0
    statement = insert(table)
    found = here.execute(select(table), execution_options={"yield_per": GROUP})
    for rows in found.mappings().partitions():
        there.execute(statement, [dict(row) for row in rows])
        copied += len(rows)
        tell(table.name, copied)
    _compare(here, there, table)
    if there.dialect.name == "postgresql":
        _number_on(there, table)
    return copied


def _compare(here: Connection, there: Connection, table: Table) -> None:
    """Raises Unavailable unless both have as many rows with the same sums."""
    sent, arrived = sums(here, table), sums(there, table)
    if sent != arrived:
        wrong = sorted(name for name in sent if sent[name] != arrived[name])
        raise Unavailable(f"{table.name} did not arrive as it was sent: {', '.join(wrong)}", remedy="report this")


def sums(tx: Connection, table: Table) -> dict[str, int]:
    """Its number of rows, of each column of numbers the sum, of texts the characters, of others how many are set."""
    made: dict[str, Any] = {"rows": func.count()}
    for column in table.c:
        if isinstance(column.type, BigInteger | Integer | Utc):
            whole = cast(column, BigInteger)  # in two parts: SQLite's sums end at 2^63, and tokens are large
            made |= {f"{column.name}, low": func.sum(whole % _PART), f"{column.name}, high": func.sum(whole // _PART)}
        elif isinstance(column.type, Boolean):
            made[column.name] = func.sum(cast(column, Integer))
        elif isinstance(column.type, String):
            made[column.name] = func.sum(func.length(column))
        else:
            made[column.name] = func.count(column)
    row = tx.execute(select(*(value.label(f"c{n}") for n, value in enumerate(made.values()))).select_from(table)).one()
    return {name: int(value or 0) for name, value in zip(made, row, strict=True)}


def _number_on(tx: Connection, table: Table) -> None:
    """New rows are numbered after those that came."""
    column = table.autoincrement_column
    if column is None or len(table.primary_key) != 1:
        return
    sequence = tx.execute(text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": f'"{table.name}"', "c": column.name})
    if name := sequence.scalar_one():
        last = select(func.max(column)).scalar_subquery()
        tx.execute(select(func.setval(name, func.coalesce(last, 1), last.is_not(None))))


@contextmanager
def idle(place: Address) -> Iterator[None]:
    """No service starts on it meanwhile. Raises Conflict when one runs."""
    with _idle_file(place.path) if place.path else _idle_server(place):
        yield


@contextmanager
def _idle_file(path: Path) -> Iterator[None]:
    """The lock of the home that the file lies in."""
    lock = path.parent / "service.lock"
    if not lock.exists():
        yield
        return
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _runs(str(path)) from error
        yield


@contextmanager
def _idle_server(place: Address) -> Iterator[None]:
    import psycopg

    with closing(place.connect()) as db:
        try:
            with postgres.alone(db.engine) as connection:
                if not postgres.take_service(connection, "farm database copy"):
                    raise _runs(place.where)
                yield
        except psycopg.Error as error:
            raise BadDatabase(place.where, postgres.sentence(error, lost=True)) from error


def _runs(where: str) -> Conflict:
    return Conflict("a service runs on it", where, "`farm down` first; executors elsewhere go on meanwhile")
