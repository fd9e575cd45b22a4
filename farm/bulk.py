"""Constant statements without SQLAlchemy's work for each call and each row: that was a quarter of what a task cost."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, CursorResult, Delete, Dialect, Insert, Update

from farm.unnested import Unnested, array, unnested

Statement = Insert | Update | Delete
Convert = Callable[[Any], Any]
Shape = Callable[[Any], Any]


def execute(tx: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> CursorResult[Any]:
    """As `tx.execute(statement, rows)`, for rows that all have the keys of the first; other keys are ignored.

    Column defaults other than plain values, RETURNING and expanding parameters are not supported. `statement` must be a
    constant: what it compiles to is kept. On PostgreSQL it is one statement: rows are changed once at most.
    """
    made = _compiled(statement, tx.dialect, tuple(rows[0]))
    if made.at_once is None:
        return tx.exec_driver_sql(made.text, [made.shape(row) for row in rows])
    return _at_once(tx, made, {name: made.column(name, rows) for name in made.at_once.columns})


def tuples(
    tx: Connection, statement: Statement, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> CursorResult[Any]:
    """The same for rows that are tuples, in the order of `names`, of values as the driver takes them: an instant is a
    number of microseconds, JSON is text."""
    made = _laid_out(statement, tx.dialect, names)
    if made.at_once is None:
        return tx.exec_driver_sql(made.text, [made.shape(row) for row in rows])
    return _at_once(tx, made, dict(zip(names, zip(*rows, strict=True), strict=True)))


class _Made(NamedTuple):
    """What a statement compiles to. `shape` makes the driver's parameters of a row."""

    text: str
    shape: Shape
    given: Mapping[str, Any]  # the values that are the same for all rows, as the driver takes them
    converts: Mapping[str, Convert | None]
    at_once: Unnested | None

    def column(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        values = [row[name] for row in rows]
        return list(map(convert, values)) if (convert := self.converts[name]) else values


def _at_once(tx: Connection, made: _Made, columns: Mapping[str, Sequence[Any]]) -> CursorResult[Any]:
    assert made.at_once is not None
    arrays = {name: array(columns[name]) for name in made.at_once.columns}
    return tx.exec_driver_sql(made.at_once.text, {**made.given, **arrays})


@lru_cache(maxsize=200)
def _laid_out(statement: Statement, dialect: Dialect, names: tuple[str, ...]) -> _Made:
    """Values come as the driver takes them."""
    made, order = _parts(statement, dialect, names)
    every, fixed = (*names, *made.given), tuple(made.given.values())
    if order is None:
        return made._replace(shape=lambda row: dict(zip(every, row + fixed, strict=True)))
    pick = itemgetter(*(every.index(name) for name in order))
    return made._replace(shape=lambda row: pick(row + fixed))


@lru_cache(maxsize=200)
def _compiled(statement: Statement, dialect: Dialect, keys: tuple[str, ...]) -> _Made:
    made, order = _parts(statement, dialect, keys)
    return made._replace(shape=_named(made) if order is None else _positional(order, made))


def _parts(statement: Statement, dialect: Dialect, keys: tuple[str, ...]) -> tuple[_Made, Sequence[str] | None]:
    """And the order of its parameters where they have no names."""
    columns = {key for key in keys if key in statement.table.c} if isinstance(statement, Insert) else set()
    compiled = statement.compile(dialect=dialect, column_keys=sorted(columns))
    converts: dict[str, Convert | None] = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()
    }
    fixed = {name: value for name, value in compiled.params.items() if name not in keys}
    for column in getattr(compiled, "insert_prefetch", ()):
        fixed[column.key] = column.default.arg
    given = {name: convert(fixed[name]) if (convert := converts[name]) else fixed[name] for name in fixed}
    text, own = str(compiled), [name for name in converts if name not in given]
    at_once = unnested(text, own) if dialect.name == "postgresql" else None
    order = list(compiled.positiontup or ()) if compiled.positional else None
    return _Made(text, dict, given, converts, at_once), order


def _positional(names: Sequence[str], made: _Made) -> Shape:
    given, fetch = made.given, itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    todo = [(n, convert) for n, name in enumerate(names) if (convert := made.converts[name]) and name not in given]

    def shape(row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(fetch({**row, **given}))
        for n, convert in todo:
            values[n] = convert(values[n])
        return tuple(values)

    return shape


def _named(made: _Made) -> Shape:
    own = {name: convert for name, convert in made.converts.items() if name not in made.given}

    def shape(row: Mapping[str, Any]) -> dict[str, Any]:
        return {**made.given, **{n: convert(row[n]) if convert else row[n] for n, convert in own.items()}}

    return shape
