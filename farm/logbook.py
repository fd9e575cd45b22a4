"""Where the log of an attempt is: a range of the mirror of its slot's spool."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, bindparam, select

from farm import tables as t
from farm.model import AttemptState
from farm.read import job_row, task
from farm.reference import Reference
from farm.refusal import NotFound, Refusal
from farm.sites import spool_path

PART = 8 << 20  # bytes in one answer at most

_LAST = (
    select(t.Attempt)
    .where(t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"))
    .order_by(t.Attempt.ordinal.desc())
    .limit(1)
)
_ONE = select(t.Attempt).where(
    t.Attempt.job == bindparam("j"), t.Attempt.number == bindparam("n"), t.Attempt.ordinal == bindparam("o")
)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a log, where the next ones start, and whether there will be any."""

    data: bytes
    next: int
    final: bool


def part(tx: Connection, logs: Path, ref: Reference, offset: int, shipped: Mapping[str, int]) -> Part:
    """The log of an attempt, or of a task's last attempt, from `offset`. Raises NotFound.

    `shipped`: running attempt → end of its part of the spool so far; what follows there may be another's.
    """
    ref = _single(tx, ref)
    if ref.ordinal is None:
        row = tx.execute(_LAST, {"j": ref.job, "n": ref.number}).one_or_none()
    else:
        row = tx.execute(_ONE, {"j": ref.job, "n": ref.number, "o": ref.ordinal}).one_or_none()
    if row is None:
        return _none(tx, ref, offset)
    running = row.state in (AttemptState.CLAIMED, AttemptState.STARTED)
    if not row.spool:
        return Part(b"", offset, not running)
    path = spool_path(logs, row.executor, row.spool)
    there = path.stat().st_size if path.exists() else 0
    end = min(shipped.get(f"{row.job}.{row.number}.{row.ordinal}", row.lo) if running else row.hi, there)
    data = _read(path, row.lo + offset, min(end, row.lo + offset + PART))
    return Part(data, offset + len(data), not running and row.lo + offset + len(data) >= end)


def _single(tx: Connection, ref: Reference) -> Reference:
    if ref.number is not None:
        return ref
    total = job_row(tx, ref.job).total
    if total > 1:
        raise Refusal(f"job {ref.job} has {total} tasks", remedy=f"name one, such as {ref.job}.1")
    return Reference(ref.job, 1)


def _none(tx: Connection, ref: Reference, offset: int) -> Part:
    """No attempt yet: nothing to read, but perhaps later."""
    found = task(tx, ref)
    if ref.ordinal is not None:
        raise NotFound(f"task {ref.job}.{ref.number} has no attempt {ref.ordinal}")
    return Part(b"", offset, found["state"] in ("cancelled", "skipped", "done", "failed"))


def _read(path: Path, start: int, end: int) -> bytes:
    if end <= start:
        return b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)
