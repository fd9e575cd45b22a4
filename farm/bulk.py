"""Constant statements without SQLAlchemy's work for each call and each row: that was a quarter of what a task cost."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, CursorResult, Delete, Dialect, Insert, Update
from sqlalchemy.types import NullType

from farm.unnested import Unnested, array, joined, unnested

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
    columns = {name: array(made.column(name, rows)) for name in made.at_once.columns}
    return tx.exec_driver_sql(made.at_once.text, {**made.given, **columns})


def tuples(
    tx: Connection, statement: Statement, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> CursorResult[Any]:
    """The same for rows that are tuples, in the order of `names`, of values as the driver takes them: an instant is a
    number of microseconds, JSON is text."""
    made = _laid_out(statement, tx.dialect, names)
    if made.at_once is None:
        return tx.exec_driver_sql(made.text, [made.shape(row) for row in rows])
    return tx.exec_driver_sql(made.at_once.text, _arrays(made, Part(statement, names, rows)))


class Part(NamedTuple):
    """A statement with its rows, as `tuples` takes them."""

    statement: Statement
    names: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def together(tx: Connection, parts: Sequence[Part]) -> list[int]:
    """Statements that do not see what the others do, and of which no two change the same row: how many rows each has
    changed. On PostgreSQL they are one."""
    made = [_laid_out(part.statement, tx.dialect, part.names) for part in parts]
    if not parts or any(one.at_once is None for one in made):
        return [tuples(tx, *part).rowcount for part in parts]
    given: dict[str, Any] = {}
    for n, (one, part) in enumerate(zip(made, parts, strict=True)):
        given |= {f"p{n}_{name}": value for name, value in _arrays(one, part).items()}
    text = joined(tuple(one.at_once.text for one in made if one.at_once))
    return list(tx.exec_driver_sql(text, given).one())


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


def _arrays(made: _Made, part: Part) -> dict[str, Any]:
    columns = dict(zip(part.names, zip(*part.rows, strict=True), strict=True))
    names = made.at_once.columns if made.at_once else ()
    return {**made.given, **{name: array(columns[name]) for name in names}}


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
    own = {name: _type(bind, dialect) for bind, name in compiled.bind_names.items() if name not in given}
    text, at_once = str(compiled), None
    if dialect.name == "postgresql":
        at_once = unnested(text, own)
    order = list(compiled.positiontup or ()) if compiled.positional else None
    return _Made(text, dict, given, converts, at_once), order


def _type(bind: BindParameter[Any], dialect: Dialect) -> str:
    """Empty where none is known."""
    return "" if isinstance(bind.type, NullType) else bind.type.compile(dialect)


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
