"""The ledger adds up: whatever executors did and whenever it was booked."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from farm import ledger
from farm import tables as t
from farm.clock import TurnedClock
from farm.costs import Entry, Standing, report
from farm.db import Database, migrate
from farm.ledger import HOUR, split
from tests.postgres import Postgres

PRICE = 123_456_789  # nano-units an hour: divides nothing evenly
START = TurnedClock().now()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database.file(tmp_path_factory.mktemp("ledger") / "farm.db")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        made = Database.url(server.url(server.bare()))
    migrate(made, "farm.db")
    with made.write() as tx:
        for number in (1, 2, 3):
            tx.execute(insert(t.Job), _job(number))
    yield made
    made.close()


def _job(number: int) -> dict[str, Any]:
    words = {"kind": "command", "name": "x", "owner": f"owner{number}", "project": "", "lane": "default"}
    return {"id": number, "state": "running", "priority": 0, "extra": {}, "submitted": START, "total": 1, **words}


times = st.integers(0, 10_000_000)


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Any]:
    """An executor: when it was ready, drained, ended; its attempts; the instants at which its time is booked."""
    ready, draining, ended = sorted(draw(st.tuples(times, times, times)))
    attempts = draw(st.lists(st.tuples(st.sampled_from([1, 2, 3]), times, times), max_size=6))
    return {
        "slots": draw(st.integers(1, 4)),
        "ready": ready,
        "draining": draining,
        "ended": ended,
        "attempts": [(job, min(a, b), max(a, b)) for job, a, b in attempts if min(a, b) >= ready],
        "booked": sorted(draw(st.lists(times, max_size=5))),
    }


def at(micro: int) -> Any:
    return START + timedelta(microseconds=micro)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives())
def test_the_bill_is_exact_however_it_was_booked(db: Database, life: dict[str, Any]) -> None:
    with db.write() as tx:
        for table in (t.Ledger, t.Attempt, t.Executor):
            tx.execute(table.__table__.delete())
        tx.execute(insert(t.Executor), _executor(life))
        for number, (job, since, until) in enumerate(life["attempts"], 1):
            tx.execute(insert(t.Attempt), _attempt(number, job, since, until))
        for instant in (b for b in life["booked"] if b < life["ended"]):
            ledger.record(tx, at(instant), {"p": PRICE})
        tx.execute(t.Executor.__table__.update().values(ended=at(life["ended"]), state="gone"))
        ledger.record(tx, at(10_000_001), {"p": PRICE})
        rows = tx.execute(select(t.Ledger)).all()
        executor = tx.execute(select(t.Executor)).one()
    assert sum(r.micros for r in rows) == life["ended"]
    assert sum(r.cost_nano for r in rows) == life["ended"] * PRICE // HOUR
    assert all(r.micros > 0 and r.cost_nano >= 0 for r in rows)
    assert sum(r.micros for r in rows if r.kind == "boot") == life["ready"]
    assert executor.closed
    assert all(r.job is not None for r in rows if r.kind == "busy")


def _executor(life: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "e1",
        "order": "o",
        "pool": "p",
        "site": "local",
        "state": "ready",
        "slots": life["slots"],
        "price_nano": PRICE,
        "why": "",
        "job": 1,
        "ordered": START,
        "launched": START,
        "ready": at(life["ready"]),
        "draining": at(life["draining"]),
        "billed_until": START,
    }


def _attempt(number: int, job: int, since: int, until: int) -> dict[str, Any]:
    place = {"job": job, "number": number, "ordinal": 1, "executor": "e1", "token": 1, "slots": 1, "state": "succeeded"}
    return {**place, "claimed": at(since), "started": at(since), "finished": at(until)}


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_split_gives_everything_away(total: int, weights: Sequence[int]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    assert all(p >= 0 for p in parts)
    whole = sum(weights)
    assert not whole or all(abs(p - total * w / whole) <= 1 for p, w in zip(parts, weights, strict=True))


entries = st.builds(
    Entry,
    st.sampled_from(["boot", "busy", "idle", "drain"]),
    st.sampled_from(["1 a", "2 b", "3 c"]),
    st.integers(0, 10**12),
    st.integers(0, 10**15),
)


@given(st.lists(entries, max_size=20))
def test_rows_of_a_report_add_up_to_its_total(found: list[Entry]) -> None:
    made = report(found, [Standing(2, 50_000_000)], "EUR", "job", (START, START + timedelta(hours=2)))
    rows: Any = made["rows"]
    assert round(sum(float(r["cost"]) for r in rows), 4) == float(str(made["total"]))
    assert made["always_on"] == "0.2000"
    assert {r["key"] for r in rows} == {e.key for e in found}


def test_nothing_booked_is_an_empty_report() -> None:
    made = report([], [Standing(2, 50_000_000)], "EUR", "owner", None)
    assert (made["rows"], made["total"], made["always_on"]) == ([], "0.0000", "0.0000")
