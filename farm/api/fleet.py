"""The service itself, executors, pools, schedule."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy.exc import DatabaseError

from farm import __version__, overview, timetable
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.api.queries import Written
from farm.fleet import alive
from farm.model import Flag
from farm.read import money
from farm.refusal import Conflict, Refusal

router = APIRouter(route_class=Checked)


class Down(BaseModel):
    """What becomes of executors that cost money must be said: `terminate` or `keep` them."""

    model_config = ConfigDict(extra="forbid")
    drain: Flag = False
    terminate: Flag = False
    keep: Flag = False


@router.get("/status")
def status(farm: Farmed) -> dict[str, Any]:
    return {"version": __version__, **overview.status(farm)}


@router.post("/down", status_code=202)
def down(farm: Farmed, how: Down) -> dict[str, Any]:
    if farm.wheel is None and farm.leader is not None:
        farm.stop()  # nobody leads, and this process is all that there is
        return {"stopping": True, "kept": ""}
    if farm.wheel is None:
        raise Conflict("no farm is running here")
    if how.keep and (how.terminate or how.drain):
        raise Refusal("executors are kept, or they end", "farm down", "choose --keep or one of --terminate and --drain")
    try:
        paid = _paid(farm)
    except DatabaseError:
        if not (how.keep or how.terminate):
            raise
        paid = ""  # nobody can tell, and who asks has decided
    if paid and not (how.keep or how.terminate):
        remedy = "end them with `farm down --terminate`, or leave them to the next `farm up` with `farm down --keep`"
        raise Conflict(f"still alive: {paid}", "farm down", remedy)
    farm.stop(terminate=not how.keep, drain=how.drain)
    return {"stopping": True, "kept": paid if how.keep else ""}


def _paid(farm: Farmed) -> str:
    """The living executors that cost money, and how much an hour; empty when there are none."""
    with farm.db.read() as tx:
        prices = [row.price_nano for row in alive(tx) if row.price_nano > 0]
    plural = "s" * (len(prices) != 1)
    money_an_hour = f"{money(sum(prices))} {farm.config.currency} an hour"
    return f"{len(prices)} paid executor{plural}, {money_an_hour}" if prices else ""


@router.get("/executors")
def executors(farm: Farmed, all: bool = False) -> dict[str, Any]:
    with farm.db.read() as tx:
        return {"executors": overview.executors(tx, all)}


@router.get("/pools")
def pools(farm: Farmed) -> dict[str, Any]:
    with farm.db.write() as tx:
        return {"pools": overview.pools(tx, farm.config, farm.clock.now())}


@router.get("/schedule")
def schedule(
    farm: Farmed, week: Annotated[date | None, Written] = None, at: Annotated[AwareDatetime | None, Written] = None
) -> dict[str, Any]:
    with farm.db.read() as tx:
        return timetable.schedule(tx, farm.config, farm.clock.now(), week, _sane(at))


@router.get("/schedule/plan")
def plan(farm: Farmed, at: Annotated[AwareDatetime | None, Written] = None) -> dict[str, Any]:
    now, gaps = farm.clock.now(), farm.wheel.gaps if farm.wheel is not None else None
    with farm.db.read() as tx:
        return timetable.plan(tx, farm.config, now, _sane(at) or now, gaps)


def _sane(at: datetime | None) -> datetime | None:
    """In UTC. Raises Refusal for the ends of time, where no clock can be read."""
    if at is not None and not timetable.EARLIEST < at.date() < timetable.LATEST:
        years = f"{timetable.EARLIEST.year} to {timetable.LATEST.year}"
        raise Refusal(f"no clock shows the year {at.year}", "at", f"from {years}")
    return at and at.astimezone(UTC)
