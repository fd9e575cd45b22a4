"""What people do to a farm beside submitting, kept for ever: who, when, what, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from farm import tables as t
from farm.queue import holds
from farm.tables import AnyRow

Verb = Literal["hold", "release", "set", "drain", "stop-spending", "resume-spending"]
Kind = Literal["job", "lane", "pool", "executor", "spending"]

_ADD = insert(t.Act).returning(t.Act.id)
_ACTS = select(t.Act).order_by(t.Act.id.desc())


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, why, and when."""

    who: str
    why: str
    at: datetime


def record(tx: Connection, by: By, verb: Verb, kind: Kind, name: str, details: Mapping[str, Any] | None = None) -> int:
    """The act's number."""
    row = {"at": by.at, "who": by.who, "why": by.why, "verb": verb, "kind": kind, "name": name}
    return tx.execute(_ADD, row | {"details": dict(details or {})}).scalar_one()


def acts(tx: Connection, kind: str, name: str, limit: int) -> list[dict[str, Any]]:
    """Newest first; of one thing alone if it is named."""
    query = _ACTS.limit(limit)
    if kind:
        query = query.where(t.Act.kind == kind, t.Act.name == name)
    return [_act(row) for row in tx.execute(query)]


def _act(row: AnyRow) -> dict[str, Any]:
    names = ("id", "who", "verb", "kind", "name", "why", "details")
    return {name: getattr(row, name) for name in names} | {"at": _when(row.at)}


def held_now(tx: Connection) -> list[dict[str, Any]]:
    """Lanes, pools and spending that are held, and every held job, the longest held first."""
    jobs = [found for job in tx.execute(_HELD_JOBS).scalars() if (found := holds.of_job(tx, job))]
    everything = sorted((*holds.held(tx).values(), *jobs), key=lambda held: held.at)
    return [{"kind": h.kind, "name": h.name, "who": h.who, "why": h.why, "at": _when(h.at)} for h in everything]


_HELD_JOBS = select(t.Job.id).where(t.Job.state == "held").order_by(t.Job.id)


def _when(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
