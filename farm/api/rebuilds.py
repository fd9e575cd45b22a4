"""Rebuilds: a push, or a tree on this machine."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from farm import rebuilds
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.hooks import checked
from farm.model import Count, Exact, Seconds, Text

router = APIRouter(route_class=Checked)


class Push(BaseModel):
    """One ref of one push."""

    model_config = ConfigDict(extra="forbid")
    repository: str
    ref: str
    old: str
    new: str


class Limits(BaseModel):
    """What ends the build of a package, as in a step; what is left out stays as rebuilds have it."""

    model_config = ConfigDict(extra="forbid")
    timeout_s: Seconds | None = None
    silence_s: Seconds | None = None
    output_bytes: Count | None = None
    memory: Count | None = None
    processes: Count | None = None


class Rebuild(BaseModel):
    """A tree on the farm's machine; with `old` and `new` what the commits between them touch."""

    model_config = ConfigDict(extra="forbid")
    tree: str
    old: str = ""
    new: str = ""
    owner: Text
    project: str = ""
    lane: Text = "default"
    priority: Annotated[Exact, Field(ge=-100, le=100)] = 0
    limits: Limits = Limits()


@router.post("/events/git")
def push(farm: Farmed, event: Push) -> dict[str, Any]:
    return rebuilds.pushed(farm, checked(event.model_dump()))


@router.post("/rebuilds")
def rebuild(farm: Farmed, wanted: Rebuild) -> dict[str, Any]:
    options = wanted.model_dump(include={"owner", "project", "lane", "priority", "limits"}, exclude_none=True)
    return rebuilds.tree(farm, wanted.tree, wanted.old, wanted.new, options)
