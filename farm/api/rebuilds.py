"""Rebuilds: a push, or a tree on this machine."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from farm import rebuilds
from farm.api.access import Asking, owner
from farm.api.bodies import Checked, Key
from farm.api.farmed import Farmed
from farm.asked import Note, once
from farm.auth import Principal
from farm.changes import is_nothing
from farm.hooks import SentEvent, check_moved, checked
from farm.model import Condition, Count, Exact, Named, Positive, Seconds, Text
from farm.refusal import Refusal
from farm.workloads.packages.sent import LARGEST, Description, read_description

router = APIRouter(route_class=Checked)
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class Push(BaseModel):
    """One ref of one push."""

    model_config = ConfigDict(extra="forbid")
    repository: str
    ref: str
    old: str
    new: str


class Limits(BaseModel):
    """What the build of a package needs and what ends it, as in a step; what is left out stays as rebuilds have it."""

    model_config = ConfigDict(extra="forbid")
    timeout_s: Seconds | None = None
    silence_s: Seconds | None = None
    output_bytes: Count | None = None
    memory: Count | None = None
    processes: Count | None = None
    cpu: Annotated[Positive, Field(le=1024)] | None = None
    needs: Annotated[Mapping[Named, Positive], Field(max_length=20)] | None = None
    labels: Annotated[tuple[Condition, ...] | None, Field(max_length=20)] = None


class Options(BaseModel):
    """For whom, and how."""

    model_config = ConfigDict(extra="forbid")
    owner: Text
    project: str = ""
    lane: Text = "default"
    priority: Annotated[Exact, Field(ge=-100, le=100)] = 0
    limits: Limits = Limits()

    def given(self, who: Principal) -> dict[str, Any]:
        told = self.model_dump(include={"project", "lane", "priority", "limits"}, exclude_none=True)
        return {**told, "owner": owner(who, self.owner)}


class Rebuild(Options):
    """A tree on the farm's machine; with `old` and `new` what the commits between them touch."""

    tree: str
    old: str = ""
    new: str = ""


class SentRebuild(Options):
    """`tree`: the digest of a description in the store, see farm.workloads.packages.sent."""

    tree: Digest


class SentPush(BaseModel):
    """One ref of one push to a repository elsewhere. `new` is a commit, or zeros and no `tree` where it was deleted."""

    model_config = ConfigDict(extra="forbid")
    repository: Text
    ref: str
    old: str
    new: str
    tip: str = ""
    tree: Digest | Literal[""] = ""


@router.post("/events/git")
def push(farm: Farmed, event: Push) -> dict[str, Any]:
    return rebuilds.pushed(farm, checked(event.model_dump()))


@router.post("/rebuilds")
def rebuild(farm: Farmed, who: Asking, wanted: Rebuild, key: Key = "") -> dict[str, Any]:
    def act(note: Note) -> dict[str, Any]:
        return rebuilds.tree(farm, wanted.tree, wanted.old, wanted.new, wanted.given(who), note)

    return once(farm, who.owner, key, wanted.model_dump_json(), act)


@router.post("/events/sent")
def sent_push(farm: Farmed, who: Asking, event: SentPush) -> dict[str, Any]:
    check_moved(event.ref, event.old, event.new, *filter(None, [event.tip]))
    told = _described(farm, event.tree) if event.tree else None
    if (told is None) != is_nothing(event.new):
        raise Refusal("a push comes with its tree, a deleted ref without one", "git event", "send the tree first")
    whose = f"{who.owner}@{event.repository}"  # nobody speaks for the repository of another
    return rebuilds.sent_push(farm, SentEvent(whose, event.ref, event.old, event.new, event.tip), told, who.owner)


@router.post("/rebuilds/sent")
def sent_rebuild(farm: Farmed, who: Asking, wanted: SentRebuild, key: Key = "") -> dict[str, Any]:
    told = _described(farm, wanted.tree)

    def act(note: Note) -> dict[str, Any]:
        return rebuilds.sent_tree(farm, told, wanted.given(who), note)

    return once(farm, who.owner, key, wanted.model_dump_json(), act)


def _described(farm: Farmed, digest: str) -> Description:
    """Raises Refusal where it, or a file that it names, was never sent."""
    if not farm.store.has(digest) or farm.store.size(digest) > LARGEST:
        raise Refusal("the description of the tree was never sent", "tree", f"PUT /v1/store/{digest}")
    told = read_description(farm.store.read(digest))
    for file in told.files:
        if file.digest and not farm.store.has(file.digest):
            raise Refusal(f"{file.entry.path!r} was never sent", "tree", f"PUT /v1/store/{file.digest}")
    return told
