"""Rows written in bulk are the rows that SQLAlchemy itself would have written."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    create_mock_engine,
    insert,
    update,
)

from farm import bulk
from farm.tables import Utc

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC)
META = MetaData()
THING = Table(
    "thing",
    META,
    Column("id", Integer, primary_key=True),
    Column("name", String),
    Column("at", Utc()),
    Column("facts", JSON),
    Column("count", BigInteger, default=7),
)
INSERT = insert(THING)
UPDATE = (
    update(THING)
    .where(THING.c.id == bindparam("i"), THING.c.name == "a")
    .values(at=bindparam("when", type_=Utc()), facts=bindparam("f", type_=JSON), count=THING.c.count + bindparam("n"))
)
ROWS = [
    {"id": 1, "name": "a", "at": MOMENT, "facts": {"x": [1]}},
    {"id": 2, "name": "a", "at": None, "facts": None},
    {"id": 3, "name": "b", "at": MOMENT, "facts": []},
]
CHANGES = [{"i": n, "when": MOMENT, "f": {"n": n}, "n": n} for n in (1, 2, 3)]


@pytest.fixture
def tx():
    engine = create_engine("sqlite://")
    META.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def written(tx, execute):
    execute(tx, INSERT, ROWS)
    changed = execute(tx, UPDATE, CHANGES).rowcount
    return changed, tx.exec_driver_sql("SELECT * FROM thing ORDER BY id").all()


def test_it_writes_what_sqlalchemy_writes(tx):
    found = written(tx, bulk.execute)
    tx.exec_driver_sql("DELETE FROM thing")
    assert found == written(tx, lambda connection, statement, rows: connection.execute(statement, rows))
    assert found[0] == 2


def test_keys_that_mean_nothing_to_the_statement_are_ignored(tx):
    assert bulk.execute(tx, INSERT, [row | {"more": 1} for row in ROWS]).rowcount == 3
    assert bulk.execute(tx, UPDATE, [row | {"more": 1} for row in CHANGES]).rowcount == 2


def test_a_naive_time_is_refused(tx):
    with pytest.raises(ValueError, match="no time zone"):
        bulk.execute(tx, INSERT, [ROWS[0] | {"at": MOMENT.replace(tzinfo=None)}])


@pytest.mark.parametrize("url", ["sqlite", "postgresql+psycopg"])
def test_tuples_are_laid_out_as_the_rows_they_stand_for(url):
    dialect = create_mock_engine(f"{url}://", lambda *_: None).dialect
    made, same = bulk._laid_out(INSERT, dialect, ("name", "id")), bulk._compiled(INSERT, dialect, ("name", "id"))
    assert made.text == same.text
    assert made.shape(("a", 1)) == same.shape({"id": 1, "name": "a"})


def test_tuples_are_written_as_rows(tx):
    bulk.tuples(tx, INSERT, ("name", "id", "at"), [("a", 1, 5), ("b", 2, None)])
    bulk.tuples(tx, UPDATE, ("n", "i", "when", "f"), [(3, 1, 6, "[]")])
    assert tx.exec_driver_sql("SELECT id, name, at, count FROM thing ORDER BY id").all() == [
        (1, "a", 6, 10),
        (2, "b", None, 7),
    ]
