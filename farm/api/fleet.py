"""The service itself, executors, pools, schedule."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from farm import __version__, overview
from farm.api.farmed import Farmed
from farm.refusal import Conflict

router = APIRouter()


class Down(BaseModel):
    model_config = ConfigDict(extra="forbid")
    drain: bool = False


@router.get("/status")
def status(farm: Farmed) -> dict[str, Any]:
    return {"version": __version__, **overview.status(farm)}


@router.post("/down", status_code=202)
def down(farm: Farmed, how: Down) -> dict[str, bool]:
    if farm.wheel is None:
        raise Conflict("no farm is running here")
    farm.stop(terminate=True, drain=how.drain)
    return {"stopping": True}


@router.get("/executors")
def executors(farm: Farmed, all: bool = False) -> dict[str, Any]:
    with farm.db.read() as tx:
        return {"executors": overview.executors(tx, all)}


@router.get("/pools")
def pools(farm: Farmed) -> dict[str, Any]:
    with farm.db.write() as tx:
        return {"pools": overview.pools(tx, farm.config, farm.clock.now())}


@router.get("/schedule")
def schedule(farm: Farmed) -> dict[str, Any]:
    with farm.db.write() as tx:
        return overview.schedule(tx, farm.config, farm.clock.now())
