"""One statement over many rows without SQLAlchemy's work for each of them: that was a quarter of what a task cost."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, CursorResult, Delete, Dialect, Insert, Update

Statement = Insert | Update | Delete
Convert = Callable[[Any], Any]


def execute(tx: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> CursorResult[Any]:
    """As `tx.execute(statement, rows)`, for rows that all have the keys of the first; other keys are ignored.

    Column defaults other than plain values, RETURNING and expanding parameters are not supported. `statement` must be a
    constant: what it compiles to is kept.
    """
    text, shape = _compiled(statement, tx.dialect, tuple(rows[0]))
    return tx.exec_driver_sql(text, [shape(row) for row in rows])


def tuples(
    tx: Connection, statement: Statement, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> CursorResult[Any]:
    """The same for rows that are tuples, in the order of `names`, of values as the driver takes them: an instant is a
    number of microseconds."""
    text, shape = _laid_out(statement, tx.dialect, names)
    return tx.exec_driver_sql(text, [shape(row) for row in rows])


@lru_cache(maxsize=200)
def _laid_out(statement: Statement, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, Callable[..., Any]]:
    text, _, compiled, given = _parts(statement, dialect, names)
    every, fixed = (*names, *given), tuple(given.values())
    if not compiled.positional:
        return text, lambda row: dict(zip(every, row + fixed, strict=True))
    pick = itemgetter(*(every.index(name) for name in compiled.positiontup or ()))
    return text, lambda row: pick(row + fixed)


@lru_cache(maxsize=200)
def _compiled(statement: Statement, dialect: Dialect, keys: tuple[str, ...]) -> tuple[str, Callable[..., Any]]:
    """The SQL text, and what makes the driver's parameters of a row."""
    text, converts, compiled, given = _parts(statement, dialect, keys)
    if compiled.positional:
        return text, _positional(list(compiled.positiontup or ()), converts, given)
    return text, _named(list(converts), converts, given)


def _parts(
    statement: Statement, dialect: Dialect, keys: tuple[str, ...]
) -> tuple[str, Mapping[str, Convert | None], Any, dict[str, Any]]:
    """The SQL text, how each of its values becomes one of the driver's, and those that are the same for all rows."""
    columns = {key for key in keys if key in statement.table.c} if isinstance(statement, Insert) else set()
    compiled = statement.compile(dialect=dialect, column_keys=sorted(columns))
    converts: dict[str, Convert | None] = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()
    }
    fixed = {name: value for name, value in compiled.params.items() if name not in keys}
    for column in getattr(compiled, "insert_prefetch", ()):
        fixed[column.key] = column.default.arg
    given = {name: convert(fixed[name]) if (convert := converts[name]) else fixed[name] for name in fixed}
    return str(compiled), converts, compiled, given


def _positional(
    names: Sequence[str], converts: Mapping[str, Convert | None], given: Mapping[str, Any]
) -> Callable[..., Any]:
    fetch = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    todo = [(n, convert) for n, name in enumerate(names) if (convert := converts[name]) and name not in given]

    def shape(row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(fetch({**row, **given}))
        for n, convert in todo:
            values[n] = convert(values[n])
        return tuple(values)

    return shape


def _named(
    names: Sequence[str], converts: Mapping[str, Convert | None], given: Mapping[str, Any]
) -> Callable[..., Any]:
    def shape(row: Mapping[str, Any]) -> dict[str, Any]:
        own = {name: row[name] for name in names if name not in given}
        return {**given, **{n: convert(v) if (convert := converts[n]) else v for n, v in own.items()}}

    return shape
