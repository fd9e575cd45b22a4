"""From the ledger to a report."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from farm import ledger
from farm import tables as t
from farm.clock import EPOCH
from farm.config import FarmConfig
from farm.costs import By, Entry, Standing, report
from farm.reconcile import current_prices
from farm.refusal import Refusal
from farm.spending import Spending
from farm.tables import AnyRow

if TYPE_CHECKING:
    from farm.context import Farm

NOBODY = "(nobody)"


def bill(farm: "Farm", by: By, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    """Books what is open first, so that the report is of now. Raises Refusal for a time without a zone."""
    for given in (since, until):
        if given is not None and given.tzinfo is None:
            raise Refusal(f"{given.isoformat()} has no time zone", remedy="write 2026-01-31T12:00:00Z")
    now = farm.clock.now()
    with farm.db.write() as tx:
        book(farm, tx, now)
        rows = sorted(ledger.sums(tx, since or EPOCH, until or now), key=lambda row: _place(row, by))
        names = _names(tx, rows) if by == "job" else {}
        span = _span(tx, since, until)
        budgets = Spending().told(tx, farm.config, now)
    entries = [Entry(row.kind, _key(row, by, names), int(row.micros), int(row.cost)) for row in rows]
    return report(entries, standing(farm.config), farm.config.currency, by, span, budgets)


def book(farm: "Farm", tx: Connection, now: datetime) -> None:
    """Everything up to now; without a wheel nothing lives that could be booked."""
    if farm.wheel is not None:
        ledger.record(tx, now, current_prices(farm.wheel, tx, now))


def standing(config: FarmConfig) -> list[Standing]:
    """Every pool with all the executors its ceiling allows, all the time."""
    return [
        Standing(-(-pool.ceiling_slots // pool.slots), int(pool.price_per_hour * ledger.NANO))
        for pool in config.pools.values()
    ]


def _span(tx: Connection, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime] | None:
    found = ledger.span(tx)
    if found is None:
        return None
    first, last = max(since or found[0], found[0]), min(until or found[1], found[1])
    return (first, last) if first < last else None


def _names(tx: Connection, rows: list[AnyRow] | Any) -> dict[int, str]:
    numbers = [row.job for row in rows if row.job is not None]
    return {r.id: r.name for r in tx.execute(select(t.Job.id, t.Job.name).where(t.Job.id.in_(numbers)))}


def _place(row: AnyRow, by: By) -> tuple[bool, int, str]:
    """Where its line stands in a report: jobs by number, others by name, nobody's last."""
    nobody = row.job is None and by != "pool"
    return nobody, 0 if nobody or by != "job" else row.job, "" if nobody or by == "job" else str(getattr(row, by))


def _key(row: AnyRow, by: By, names: dict[int, str]) -> str:
    if row.job is None and by != "pool":
        return NOBODY
    if by == "job":
        return f"{row.job} {names.get(row.job, '')}".strip()
    return str(getattr(row, by)) or f"(no {by})"
