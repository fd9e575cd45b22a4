"""Removing what is old, at once."""

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.model import Flag
from farm.prune import prune as remove

router = APIRouter(route_class=Checked)


class How(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dry_run: Flag = False


@router.post("/prune")
def prune(farm: Farmed, how: How) -> dict[str, int]:
    return asdict(remove(farm, how.dry_run))
