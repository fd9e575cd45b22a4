"""The entrance of machines elsewhere: the program they run, and the exchange of their invitation for a token."""

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from executors.invitation import PROTOCOL
from executors.site.protocol import PROTOCOL as SYNC
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.clock import micros
from farm.joining import Asked, exchange, failed

if TYPE_CHECKING:
    from farm.context import Farm

router = APIRouter(route_class=Checked)
Word = Annotated[str, Field(max_length=300)]


class Join(BaseModel):
    """What a machine says of itself; that of newer ones may be more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    farm: Word = ""
    pool: Word
    executor: Word
    secret: Word
    nonce: Word = ""
    protocol: int = PROTOCOL
    sync: int = 1
    version: Word = ""
    python: Word = ""
    ray: Word = ""
    host: Word = ""

    def asked(self) -> Asked:
        return Asked(**{f.name: getattr(self, f.name) for f in fields(Asked)})


class Trouble(Join):
    what: Annotated[str, Field(min_length=1, max_length=4000)]


@router.post("/join")
def join(farm: Farmed, said: Join) -> dict[str, Any]:
    """The secret is good once. What the machine is told is told nobody else."""
    token = exchange(farm, said.asked())
    now = micros(farm.clock.now())
    return {"token": token, "site": said.executor, "lease_s": _lease(farm), "now": now, "sync": SYNC}


@router.post("/join/failed")
def join_failed(farm: Farmed, said: Trouble) -> dict[str, Any]:
    """A machine that was invited says why it can't come."""
    failed(farm, said.asked(), said.what)
    return {"kept": True}


@router.get("/executor.pyz")
def executor_pyz() -> Response:
    """The program of an executor: `python3 executor.pyz --ticket FILE`. The same farm always sends the same bytes."""
    return Response(_program(), media_type="application/zip")


@cache
def _program() -> bytes:
    from executors.program import packed

    return packed()


def _lease(farm: "Farm") -> float:
    return farm.config.site.outbound_lease.total_seconds()
