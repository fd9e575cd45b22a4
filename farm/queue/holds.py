"""What people hold now: lanes and pools, and spending as a whole. A held job is in that state itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select

from farm import tables as t

_COLUMNS = (t.Act.who, t.Act.why, t.Act.at)
_LANES = select(t.Hold.name).where(t.Hold.kind == "lane")
_HELD = select(t.Hold.kind, t.Hold.name, *_COLUMNS).join(t.Act, t.Act.id == t.Hold.act)
_OF_JOB = (
    select(t.Act.kind, t.Act.name, *_COLUMNS)
    .where(t.Act.kind == "job", t.Act.name == bindparam("j"), t.Act.verb == "hold")
    .order_by(t.Act.id.desc())
    .limit(1)
)
_ADD = insert(t.Hold)
_REMOVE = delete(t.Hold).where(t.Hold.kind == bindparam("k"), t.Hold.name == bindparam("n"))


@dataclass(frozen=True, slots=True)
class Held:
    """One thing that is held, by whom and why. `kind`: job, lane, pool or spending (which has no name)."""

    kind: str
    name: str
    who: str
    why: str
    at: datetime

    @property
    def words(self) -> str:
        """`held by ada: the scene is wrong`."""
        verb = "stopped" if self.kind == "spending" else "held"
        return f"{verb} by {self.who}" + (f": {self.why}" if self.why else "")


def lanes(tx: Connection) -> frozenset[str]:
    """The lanes that hand nothing out."""
    return frozenset(tx.execute(_LANES).scalars())


def held(tx: Connection) -> Mapping[tuple[str, str], Held]:
    """(kind, name) → what holds it."""
    return {(row.kind, row.name): Held(*row) for row in tx.execute(_HELD)}


def of_job(tx: Connection, job: int) -> Held | None:
    """Who held a held job last."""
    row = tx.execute(_OF_JOB, {"j": str(job)}).one_or_none()
    return Held(*row) if row is not None else None


def add(tx: Connection, kind: str, name: str, act: int) -> None:
    tx.execute(_ADD, {"kind": kind, "name": name, "act": act})


def remove(tx: Connection, kind: str, name: str) -> bool:
    """Whether it was held."""
    return bool(tx.execute(_REMOVE, {"k": kind, "n": name}).rowcount)
