"""Jobs that are held until their time: who submitted them said when, and the wheel releases them then."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from farm import tables as t
from farm.acts import By, record
from farm.model import JobState
from farm.queue.hold import release

FARM = "the farm"
_WHY = "until its time"
_TOGETHER = 500  # jobs of one question
_HELD = select(t.Job.id).where(t.Job.state == JobState.HELD).order_by(t.Job.id)
_HELD_ONE = _HELD.where(t.Job.id == bindparam("j"))
_ACTS = (  # not joined to the jobs: SQLite would go through all that people ever did, for each job
    select(t.Act.name, t.Act.details)
    .where(t.Act.kind == "job", t.Act.name.in_(bindparam("names", expanding=True)), t.Act.verb == "hold")
    .order_by(t.Act.id)
)


def keep(tx: Connection, job: int, owner: str, until: datetime, now: datetime) -> None:
    """Of a job that was just submitted held."""
    record(tx, By(owner, _WHY, now), "hold", "job", str(job), {"until": until.isoformat()})


def until(tx: Connection, job: int) -> datetime | None:
    """When a held job is released by itself; None where a person has to, or holds it since."""
    return _said(tx, tx.execute(_HELD_ONE, {"j": job}).scalars().all()).get(job)


def release_due(tx: Connection, now: datetime) -> list[int]:
    """Release those whose time has come; their numbers."""
    held = tx.execute(_HELD).scalars().all()
    found = [job for job, at in _said(tx, held).items() if at <= now]
    for job in found:
        release(tx, job)
        record(tx, By(FARM, "its time came", now), "release", "job", str(job))
    return found


def _said(tx: Connection, jobs: Sequence[int]) -> dict[int, datetime]:
    """Job → its time, as far as who held it last said one."""
    last: dict[int, object] = {}
    for first in range(0, len(jobs), _TOGETHER):
        names = [str(job) for job in jobs[first : first + _TOGETHER]]
        last |= {int(row.name): row.details for row in tx.execute(_ACTS, {"names": names})}
    return {job: at for job in jobs if (at := _moment(last.get(job))) is not None}


def _moment(details: object) -> datetime | None:
    said = details.get("until") if isinstance(details, dict) else None
    return datetime.fromisoformat(said) if said else None
