"""Many rows in one statement of PostgreSQL are those that SQLAlchemy itself would have written, on either database."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    update,
)

from farm import bulk
from farm.model import TaskState
from farm.tables import Utc
from farm.unnested import unnested

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC)
META = MetaData()
THING = Table(
    "unnested_thing",
    META,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String),
    Column("at", Utc()),
    Column("facts", JSON(none_as_null=True)),
    Column("share", Float),
    Column("open", Boolean),
    Column("count", BigInteger, default=7),
)
INSERT = insert(THING)
UPDATE = (
    update(THING)
    .where(THING.c.id == bindparam("i"), THING.c.open.is_(True))
    .values(
        at=bindparam("when", type_=Utc()),
        facts=bindparam("f", type_=JSON(none_as_null=True)),
        count=THING.c.count + bindparam("n"),
        name=TaskState.DONE,
    )
)
DELETE = delete(THING).where(THING.c.id == bindparam("i"))
HARD = ["", "NULL", "{}", '"', "\\", '\\"', "a,b", "é\t\n☃", "%(id)s", "'; --", "v.v_id", " "]
ROWS = [
    {"id": n, "name": name, "at": MOMENT if n % 2 else None, "facts": {name: [n, None]} if n % 3 else None}
    | {"share": n / 7, "open": n % 4 > 0}
    for n, name in enumerate(HARD)
]
CHANGES = [{"i": n, "when": MOMENT, "f": {"n": '"'} if n % 2 else None, "n": n} for n in range(len(HARD) + 2)]


@pytest.fixture
def tx(db):
    with db.engine.connect() as tx:
        META.create_all(tx)
        yield tx
        tx.rollback()


def written(tx, execute):
    changed = [execute(tx, INSERT, ROWS).rowcount]
    inserted = tx.exec_driver_sql("SELECT * FROM unnested_thing ORDER BY id").all()
    changed.append(execute(tx, UPDATE, CHANGES).rowcount)
    updated = tx.exec_driver_sql("SELECT * FROM unnested_thing ORDER BY id").all()
    changed.append(execute(tx, DELETE, [{"i": n} for n in (1, 3, 99)]).rowcount)
    deleted = tx.exec_driver_sql("SELECT * FROM unnested_thing ORDER BY id").all()
    tx.exec_driver_sql("DELETE FROM unnested_thing")
    return changed, inserted, updated, deleted


def test_it_writes_what_sqlalchemy_writes(tx):
    changed, *rows = written(tx, bulk.execute)
    assert changed == [len(HARD), sum(row["open"] for row in ROWS), 2]
    _, *same = written(tx, lambda connection, statement, rows: connection.execute(statement, rows))
    assert rows == same


def test_on_postgresql_it_is_one_statement(tx):
    made = bulk._compiled(UPDATE, tx.dialect, tuple(CHANGES[0]))
    assert (made.at_once is not None) == (tx.dialect.name == "postgresql")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (a) VALUES (%(a)s)",  # of no type that is known
        "INSERT INTO t (a) VALUES (%(a)s::BIGINT) RETURNING id",
        "UPDATE t SET a=%(a)s::BIGINT",
        "UPDATE t SET a=(SELECT b FROM u WHERE u.b = 1) WHERE t.a = %(a)s::BIGINT",
        "SELECT %(a)s::BIGINT",
    ],
)
def test_what_it_does_not_understand_it_leaves_alone(text):
    assert unnested(text, {"a": "" if "(a) VALUES (%(a)s)" in text else "BIGINT"}) is None
