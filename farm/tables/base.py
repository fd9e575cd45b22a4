"""What the columns of all tables are made of."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, Integer, Row, TypeDecorator
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase

from farm.clock import from_micros, micros

AnyRow = Row[*tuple[Any, ...]]
"""A row of any select; columns are read by name."""

ROWID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


STEP_WAITS = "step.state = 'ready' AND step.held = 0"
TASK_WAITS = "task.state = 'ready' AND task.held = 0"
"""Where the partial indexes of what waits hold; a query must say the same, literally, to be answered from them."""
WAITS = "state = 'ready' AND held = 0"
PLAIN = f"{WAITS} AND needs = ''"  # for slots alone
NEEDY = f"{WAITS} AND needs <> ''"
OPEN = "state IN ('blocked', 'ready')"
BAD = "state IN ('failed', 'cancelled', 'skipped')"
TASK_OPEN = f"task.{OPEN}"
TASK_BAD = f"task.{BAD}"
"""The same of tasks that have not begun and of those that did not succeed: of a job of a million there are few."""


TURN = ("lane", "owner", "due")
SIZE = ("job", "ordinal", "slots", "next", "total")


def partial(condition: str) -> dict[str, Any]:
    """An index of the rows for which this holds."""
    return {"sqlite_where": sql(condition), "postgresql_where": sql(condition)}


class Utc(TypeDecorator[datetime]):
    """An instant. Refuses naive times: SQLite would silently drop a zone."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:
        """Without SQLAlchemy's two calls around it: six times come with every task."""
        return _to_micros

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        return _of_micros


def _to_micros(value: datetime | None) -> int | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return micros(value)


def _of_micros(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Utc,
        int: BigInteger,
        Mapping[str, Any]: JSON,
        list[Any]: JSON,
    }
