"""Rebuilds: a push, or a tree on this machine."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from farm import rebuilds
from farm.api.farmed import Farmed
from farm.hooks import checked

router = APIRouter()


class Push(BaseModel):
    """One ref of one push."""

    model_config = ConfigDict(extra="forbid")
    repository: str
    ref: str
    old: str
    new: str


class Rebuild(BaseModel):
    """A tree on the farm's machine; with `old` and `new` what the commits between them touch."""

    model_config = ConfigDict(extra="forbid")
    tree: str
    old: str = ""
    new: str = ""
    owner: str
    project: str = ""
    lane: str = "default"
    priority: int = 0


@router.post("/events/git")
def push(farm: Farmed, event: Push) -> dict[str, Any]:
    return rebuilds.pushed(farm, checked(event.model_dump()))


@router.post("/rebuilds")
def rebuild(farm: Farmed, wanted: Rebuild) -> dict[str, Any]:
    options = wanted.model_dump(include={"owner", "project", "lane", "priority"})
    return rebuilds.tree(farm, wanted.tree, wanted.old, wanted.new, options)
