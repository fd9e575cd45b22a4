"""Whom those have to trust who come from elsewhere. No secret: a certificate authority is known by its fingerprint."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.listening import authority_of
from farm.read import when
from farm.refusal import Conflict
from farm.tls import OVERLAP, fingerprint

router = APIRouter(route_class=Checked)
LONGEST = timedelta(days=365)


class Rotation(BaseModel):
    """For `overlap_s` seconds those who trust the old authority get on, too; 0: they are cut off at once."""

    model_config = ConfigDict(extra="forbid")
    overlap_s: Annotated[float, Field(strict=True, ge=0, le=LONGEST.total_seconds())] = OVERLAP.total_seconds()


@router.get("/ca")
def ca(farm: Farmed) -> dict[str, Any]:
    """In PEM; "" where there is nothing to be trusted: on loopback, or with a certificate that everybody trusts."""
    found = farm.listener.ca() if farm.listener else ""
    if not found and farm.listener is None and farm.config.listen.certificate is None and farm.home.tls.exists():
        found = authority_of(farm.home, farm.clock).ca()
    return {"ca": found, "fingerprint": fingerprint(found) if found else ""}


@router.post("/ca/rotate")
def rotate(farm: Farmed, how: Rotation) -> dict[str, Any]:
    """Shown at once by a server that runs."""
    if farm.config.listen.certificate is not None:
        remedy = "renew the files that are named there; the farm reads them by itself"
        raise Conflict("the certificate was given: the farm has no authority of its own", "[listen]", remedy)
    made = authority_of(farm.home, farm.clock).rotate(timedelta(seconds=how.overlap_s))
    if farm.listener is not None and farm.listener.tls is not None:
        farm.listener.tls.refresh()
        farm.listener.told()
    return {"old": made.old, "fingerprint": made.new, "until": when(made.until)}
