"""Jobs that are held until their time: who submitted them said when, and the wheel releases them then."""

from datetime import datetime

from sqlalchemy import Connection, String, bindparam, cast, select

from farm import tables as t
from farm.acts import By, record
from farm.model import JobState
from farm.queue.hold import release

FARM = "the farm"
_WHY = "until its time"
_HELD = select(t.Job.id).where(t.Job.state == JobState.HELD).limit(1)
_ACTS = (
    select(t.Job.id, t.Act.details, t.Act.why)
    .join(t.Act, t.Act.name == cast(t.Job.id, String))
    .where(t.Job.state == JobState.HELD, t.Act.kind == "job", t.Act.verb == "hold")
    .order_by(t.Act.id)
)
_ACTS_OF = _ACTS.where(t.Job.id == bindparam("j"))


def keep(tx: Connection, job: int, owner: str, until: datetime, now: datetime) -> None:
    """Of a job that was just submitted held."""
    record(tx, By(owner, _WHY, now), "hold", "job", str(job), {"until": until.isoformat()})


def until(tx: Connection, job: int) -> datetime | None:
    """When a held job is released by itself; None where a person has to, or holds it since."""
    rows = tx.execute(_ACTS_OF, {"j": job}).all()
    return _moment(rows[-1].details) if rows else None


def release_due(tx: Connection, now: datetime) -> list[int]:
    """Release those whose time has come; their numbers."""
    if tx.execute(_HELD).first() is None:
        return []
    last = {row.id: row.details for row in tx.execute(_ACTS)}
    found = [job for job, details in last.items() if (at := _moment(details)) is not None and at <= now]
    for job in found:
        release(tx, job)
        record(tx, By(FARM, "its time came", now), "release", "job", str(job))
    return found


def _moment(details: object) -> datetime | None:
    said = details.get("until") if isinstance(details, dict) else None
    return datetime.fromisoformat(said) if said else None
