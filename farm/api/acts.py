"""Hold, release, set, drain, stop spending; and what of that was done."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from farm.acts import By, acts, held_now
from farm.api.access import Asking, allowed, check_own
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.auth import Principal, Scope
from farm.model import Exact, Flag, Number
from farm.queue.setting import Setting
from farm.refusal import Refusal
from farm.steering import Steering, Target, target

router = APIRouter(route_class=Checked)

Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(min_length=1, max_length=210)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    why: Reason = ""


class About(_Body):
    """A job's number, `lane:NAME`, `pool:NAME`, or a name that means one of these."""

    what: Name


class Settings(_Body):
    """Those that are to be otherwise. A deadline is ISO 8601 with its zone; an empty one takes it away."""

    priority: Annotated[Exact, Field(ge=-100, le=100)] | None = None
    lane: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    deadline: Annotated[str, Field(max_length=40)] | None = None


class SpendingWish(_Body):
    stopped: Flag


class Reasoned(_Body):
    """Why, if anything is to be said."""


@router.post("/hold")
def hold(farm: Farmed, who: Asking, about: About) -> dict[str, Any]:
    return _steering(farm, who, about).hold(about.what)


@router.post("/release")
def release(farm: Farmed, who: Asking, about: About) -> dict[str, Any]:
    return _steering(farm, who, about).release(about.what)


@router.post("/jobs/{job}/set")
def set_job(farm: Farmed, who: Asking, job: Number, new: Settings) -> dict[str, Any]:
    return _steering(farm, who, new).set(job, _setting(new))


@router.post("/executors/{name}/drain")
def drain(farm: Farmed, who: Asking, name: str, why: Reasoned) -> dict[str, Any]:
    return _steering(farm, who, why).drain(name)


@router.post("/spending")
def spending(farm: Farmed, who: Asking, wish: SpendingWish) -> dict[str, Any]:
    return _steering(farm, who, wish).spending(wish.stopped)


@router.get("/acts")
def done(farm: Farmed, about: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> dict[str, Any]:
    with farm.db.read() as tx:
        found = _about(farm, tx, about) if about else Target("job", "")
        return {"held": held_now(tx), "acts": acts(tx, found.kind if about else "", found.name, limit)}


def _about(farm: Farmed, tx: Connection, text: str) -> Target:
    kind, _, name = text.partition(":")
    return Target("executor", name) if kind == "executor" else target(farm, tx, text)


def _steering(farm: Farmed, who: Principal, body: _Body) -> Steering:
    def allow(tx: Connection, about: Target) -> None:
        if about.kind == "job" and about.name.isdecimal() and len(about.name) < 17:
            check_own(tx, who, int(about.name))
        elif about.kind != "job":
            allowed(who, Scope.OPERATE)

    return Steering(farm, By(who.owner, body.why, farm.clock.now()), allow)


def _setting(new: Settings) -> Setting:
    if new.priority is None and new.lane is None and new.deadline is None:
        raise Refusal("nothing is to be set", remedy="give --priority, --deadline or --lane")
    deadline = _moment(new.deadline) if new.deadline else None
    return Setting(new.priority, new.lane, deadline, new.deadline == "")


def _moment(text: str) -> datetime:
    """Raises Refusal."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is not None and not 1971 <= found.year <= 9000:
        raise Refusal(f"{text!r} is no time that anybody plans for", "deadline", "choose one between 1971 and 9000")
    if found is None or found.tzinfo is None:
        raise Refusal(f"{text!r} is no time with a zone", "deadline", "write it like 2026-03-01T18:00:00+01:00")
    return found
