"""The bill, append-only: what each executor did with its time, for whom, at what price.

An executor's time is cut into boot (launched → ready), up (ready → draining) and drain (draining → ended). Of up and
drain, the share of its slots that ran attempts is busy, and belongs to their jobs; the rest is idle or drain, and is
for the job it was ordered for or ran last. Money is integer nano-units: an executor's total is exact (what a division
leaves over is carried on), and its parts are split by largest remainder, so that Σ rows = Σ machine time · price.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, insert, or_, select, update

from farm import tables as t
from farm.clock import micros
from farm.model import ExecutorState
from farm.tables import AnyRow

HOUR = 3_600_000_000  # microseconds
NANO = 1_000_000_000

_OPEN = select(t.Executor).where(t.Executor.closed.is_(False))
_BUSY = (
    select(
        t.Attempt.job,
        t.Job.owner,
        t.Job.project,
        func.sum(
            t.Attempt.slots
            * (
                case(
                    (or_(t.Attempt.finished.is_(None), t.Attempt.finished > bindparam("until")), bindparam("until")),
                    else_=t.Attempt.finished,
                )
                - case((t.Attempt.started < bindparam("since"), bindparam("since")), else_=t.Attempt.started)
            )
        ).label("slot_micros"),
        func.max(t.Attempt.started).label("last"),
    )
    .join(t.Job, t.Job.id == t.Attempt.job)
    .where(t.Attempt.executor == bindparam("e"), t.Attempt.started < bindparam("until"))
    .where(or_(t.Attempt.finished.is_(None), t.Attempt.finished > bindparam("since")))
    .group_by(t.Attempt.job, t.Job.owner, t.Job.project)
)
_JOB = select(t.Job.owner, t.Job.project).where(t.Job.id == bindparam("j"))
_INSERT = insert(t.Ledger)
_BILLED = (
    update(t.Executor)
    .where(t.Executor.id == bindparam("e"))
    .values(billed_until=bindparam("u"), billed_rest=bindparam("r"), job=bindparam("j"), closed=bindparam("c"))
)


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a stretch of machine time."""

    kind: str
    job: int | None
    owner: str
    project: str
    micros: int


def record(tx: Connection, now: datetime, prices: Mapping[str, int], at_least: timedelta = timedelta()) -> None:
    """Book every executor's time up to `now` (to its end, when it has ended).

    `prices`: pool → nano-units an hour that hold now; an executor of another pool keeps the price it was bought at.
    Stretches shorter than `at_least` wait, unless the executor has ended.
    """
    rows: list[dict[str, Any]] = []
    for executor in tx.execute(_OPEN).all():
        until = executor.ended or now
        if executor.ended is None and until - executor.billed_until < at_least:
            continue
        price = prices.get(executor.pool, executor.price_nano)
        rows += _book(tx, executor, max(until, executor.billed_until), price)
    if rows:
        tx.execute(_INSERT, rows)


def _book(tx: Connection, executor: AnyRow, until: datetime, price: int) -> list[dict[str, Any]]:
    rest, job = executor.billed_rest, executor.job
    out: list[dict[str, Any]] = []
    for kind, since, upto in phases(executor, executor.billed_until, until):
        parts, job = _parts(tx, executor, kind, since, upto, job)
        total = micros(upto) - micros(since)
        cost, rest = divmod(rest + total * price, HOUR)
        for part, money in zip(parts, split(cost, [p.micros for p in parts]), strict=True):
            out.append(_row(executor, part, since, upto, price, money))
    closed = executor.ended is not None and executor.state in (ExecutorState.GONE, ExecutorState.LOST)
    tx.execute(_BILLED, {"e": executor.id, "u": until, "r": rest, "j": job, "c": closed})
    return out


def phases(executor: AnyRow, since: datetime, until: datetime) -> list[tuple[str, datetime, datetime]]:
    """The stretches of boot, up and drain between two instants."""
    end = executor.ended or until
    ready = min(executor.ready or end, end)
    draining = max(ready, min(executor.draining or end, end))
    edges = [("boot", executor.launched, ready), ("idle", ready, draining), ("drain", draining, end)]
    clipped = [(kind, max(a, since), min(b, until)) for kind, a, b in edges]
    return [(kind, a, b) for kind, a, b in clipped if a < b]


def _parts(
    tx: Connection, executor: AnyRow, kind: str, since: datetime, until: datetime, job: int | None
) -> tuple[list[Part], int | None]:
    """The shares of one stretch, and the job that what follows belongs to."""
    total = micros(until) - micros(since)
    busy: Sequence[AnyRow] = ()
    if kind != "boot":
        busy = tx.execute(_BUSY, {"e": executor.id, "since": since, "until": until}).all()
    parts = _capped([Part("busy", b.job, b.owner, b.project, _share(b, executor.slots)) for b in busy], total)
    if busy:
        job = max(busy, key=lambda b: (b.last, b.job)).job
    left = total - sum(p.micros for p in parts)
    if left:
        owner, project = _whose(tx, job)
        parts.append(Part(kind, job, owner, project, left))
    return parts, job


def _share(row: AnyRow, slots: int) -> int:
    return int(max(0, row.slot_micros)) // slots


def _capped(parts: list[Part], total: int) -> list[Part]:
    """Clocks of executors may run ahead of ours: never book more than there was."""
    over = sum(p.micros for p in parts)
    if over <= total:
        return [p for p in parts if p.micros]
    shares = split(total, [p.micros for p in parts])
    return [Part(p.kind, p.job, p.owner, p.project, s) for p, s in zip(parts, shares, strict=True) if s]


def _whose(tx: Connection, job: int | None) -> tuple[str, str]:
    row = tx.execute(_JOB, {"j": job}).one_or_none() if job is not None else None
    return (row.owner, row.project) if row else ("", "")


def split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts proportional to `weights`, by largest remainder; Σ parts = total."""
    whole = sum(weights)
    if not whole:
        return [total, *[0] * (len(weights) - 1)] if weights else []
    shares = [divmod(total * w, whole) for w in weights]
    missing = total - sum(q for q, _ in shares)
    order = sorted(range(len(weights)), key=lambda i: (-shares[i][1], i))
    extra = set(order[:missing])
    return [q + (i in extra) for i, (q, _) in enumerate(shares)]


def _row(executor: AnyRow, part: Part, since: datetime, until: datetime, price: int, money: int) -> dict[str, Any]:
    return {
        "executor": executor.id,
        "pool": executor.pool,
        "kind": part.kind,
        "job": part.job,
        "owner": part.owner,
        "project": part.project,
        "since": since,
        "until": until,
        "micros": part.micros,
        "price_nano": price,
        "cost_nano": money,
    }


_SUMS = (
    select(
        t.Ledger.kind,
        t.Ledger.job,
        t.Ledger.owner,
        t.Ledger.project,
        t.Ledger.pool,
        func.sum(t.Ledger.micros).label("micros"),
        func.sum(t.Ledger.cost_nano).label("cost"),
    )
    .where(and_(t.Ledger.until > bindparam("since"), t.Ledger.since < bindparam("until")))
    .group_by(t.Ledger.kind, t.Ledger.job, t.Ledger.owner, t.Ledger.project, t.Ledger.pool)
)
_SPAN = select(func.min(t.Ledger.since), func.max(t.Ledger.until))
_JOB_COST = select(t.Ledger.job, func.sum(t.Ledger.cost_nano).label("cost")).group_by(t.Ledger.job)


def sums(tx: Connection, since: datetime, until: datetime) -> Sequence[AnyRow]:
    """Σ microseconds and nano-units by kind, job, owner, project and pool of the rows that touch the span."""
    return tx.execute(_SUMS, {"since": since, "until": until}).all()


def span(tx: Connection) -> tuple[datetime, datetime] | None:
    """From the first launch to the last booking."""
    first, last = tx.execute(_SPAN).one()
    return (first, last) if first else None


def job_costs(tx: Connection, jobs: Iterable[int]) -> dict[int, int]:
    """Nano-units by job, booked so far."""
    costs: dict[int, int] = defaultdict(int)
    for row in tx.execute(_JOB_COST.where(t.Ledger.job.in_(list(jobs)))):
        costs[int(row.job or 0)] = int(row.cost)
    return costs
