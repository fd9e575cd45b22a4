"""Where the log of an attempt is: a range of the mirror of its slot's spool."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, bindparam, select

from farm import tables as t
from farm.mirror import spool_path
from farm.model import AttemptState
from farm.read import job_row, task
from farm.reference import Reference
from farm.refusal import NotFound, Refusal
from farm.tables import AnyRow

PART = 8 << 20  # bytes in one answer at most
ALL = 1 << 62

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
    """Bytes of a log, where the next ones start, whether there will be any, and a sentence if some are not there."""

    data: bytes
    next: int
    final: bool
    note: str = ""


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
    if not row.spool:
        return Part(b"", offset, not _running(row))
    path = spool_path(logs, row.executor, row.spool)
    end = min(_end(row, shipped), path.stat().st_size) if path.exists() else row.lo
    data = _read(path, row.lo + offset, min(end, row.lo + offset + PART))
    final = not _running(row) and row.lo + offset + len(data) >= end
    return Part(data, offset + len(data), final, _note(row, path))


def _running(row: AnyRow) -> bool:
    return row.state in (AttemptState.CLAIMED, AttemptState.STARTED)


def _end(row: AnyRow, shipped: Mapping[str, int]) -> int:
    """Where it ends in the spool. Nothing follows a lost attempt there, nor one that still runs and was adopted."""
    if _running(row):
        return shipped.get(f"{row.job}.{row.number}.{row.ordinal}", ALL)
    return ALL if row.state == AttemptState.LOST and row.hi <= row.lo else row.hi


def _note(row: AnyRow, path: Path) -> str:
    """What is missing, and why."""
    ref = f"{row.job}.{row.number}.{row.ordinal}"
    if not path.exists() and row.hi > row.lo:
        when = f" on {_changed(path.parent):%Y-%m-%d at %H:%M} UTC" if path.parent.exists() else ""
        return f"the log of attempt {ref} was pruned{when}"
    if row.state == AttemptState.LOST:
        return f"attempt {ref} was lost: this is what had come of its log by then"
    return ""


def _changed(folder: Path) -> datetime:
    """When a file was last taken from it: nothing is added to the folder of an executor that is gone."""
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


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
