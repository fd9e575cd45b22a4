"""Tokens: made, listed, revoked; and what was refused."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from executors.registry import joins
from farm import auth
from farm.api.access import Asking
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.auth import Kind, Known
from farm.db import after_commit
from farm.model import LONG_S, Text
from farm.read import when
from farm.refusal import NotFound, Refusal
from farm.tables import AnyRow
from farm.wording import nearest

router = APIRouter(route_class=Checked)
TICKET_S = 86_400.0  # a ticket to join with, where nothing else is said
Seconds = Annotated[float, Field(strict=True, gt=0, le=LONG_S)]


class Wanted(BaseModel):
    """A person's token has an owner and scopes; one for machines that come by themselves (`join`) a pool."""

    model_config = ConfigDict(extra="forbid")
    owner: Annotated[str, Field(max_length=200)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    scopes: Annotated[list[Text], Field(max_length=10)] = []
    join: Annotated[str, Field(max_length=200)] = ""
    expires_s: Seconds | None = None


@router.post("/tokens", status_code=201)
def create(farm: Farmed, who: Asking, wanted: Wanted) -> dict[str, Any]:
    """The only time that the secret is told."""
    if not wanted.name.isprintable():
        raise Refusal(f"{wanted.name!r} holds a control character", "--name", "choose one of plain letters")
    about = _join(farm, wanted) if wanted.join else _person(wanted)
    now, limit = farm.clock.now(), wanted.expires_s or (TICKET_S if wanted.join else None)
    expires = now + timedelta(seconds=limit) if limit else None
    with farm.db.write() as tx:
        number, secret = auth.create_token(tx, now=now, name=wanted.name, expires=expires, by=who.owner, **about)
        row = auth.row_of(tx, number)
    return {"secret": secret, **_told(farm, row)}


def _person(wanted: Wanted) -> dict[str, Any]:
    if not wanted.owner.strip():
        raise Refusal("a token has an owner: who has it is that one", "--owner", "name somebody, such as --owner ada")
    if not wanted.owner.isprintable():
        raise Refusal(f"{wanted.owner!r} holds a control character", "--owner", "choose one of plain letters")
    scopes = auth.read_scopes(",".join(wanted.scopes) or "submit,own")
    return {"kind": Kind.PERSON, "owner": wanted.owner, "scopes": scopes}


def _join(farm: Farmed, wanted: Wanted) -> dict[str, Any]:
    if wanted.join not in farm.config.pools:
        raise Refusal(f"there is no pool {wanted.join!r}", "--join", nearest(wanted.join, farm.config.pools))
    if wanted.scopes:
        raise Refusal("a machine that joins gets a token of its own, without scopes", "--scope", "leave it out")
    if not joins(provider := farm.config.pools[wanted.join].provider):
        what = f"the machines of pool {wanted.join!r} do not come by themselves: {provider!r} makes its own"
        remedy = 'give owned machines a pool of their own, with provider = "static" in farm.toml'
        raise Refusal(what, "--join", remedy)
    return {"kind": Kind.JOIN, "owner": wanted.owner, "pool": wanted.join}


@router.get("/tokens")
def tokens(farm: Farmed, all: bool = False) -> dict[str, Any]:
    """Of people, and tickets; with `all` also those of machines, and those that are good no more."""
    farm.tokens.write_used()
    with farm.db.read() as tx:
        told = [_told(farm, row) for row in auth.tokens(tx)]
    return {"tokens": [one for one in told if all or (one["state"] == "good" and one["kind"] in ("person", "join"))]}


@router.post("/tokens/{token}/revoke")
def revoke(farm: Farmed, token: str) -> dict[str, Any]:
    """It is good for nothing from now on; a connection that has begun a call gets its answer."""
    with farm.db.write() as tx:
        auth.revoke(tx, token, farm.clock.now())
        after_commit(tx, lambda: farm.tokens.forget([token]))
        row = auth.row_of(tx, token)
    return _told(farm, row)


@router.get("/refused")
def refused(farm: Farmed) -> dict[str, Any]:
    """Calls that were refused since the service started: how many, why, the last ones."""
    return farm.refusals.told()


def _told(farm: Farmed, row: AnyRow | None) -> dict[str, Any]:
    """Without the hash."""
    if row is None:
        raise NotFound("there is no such token")
    known: Known = auth.known(row)
    return {
        "id": row.id,
        "kind": row.kind,
        "state": known.bad(farm.clock.now()) or "good",
        "owner": row.owner,
        "name": row.name,
        "scopes": [str(scope) for scope in row.scopes],
        "pool": row.pool,
        "executor": row.executor,
        "created": when(row.created),
        "created_by": row.created_by,
        "expires": when(row.expires),
        "used": when(row.used),
        "revoked": when(row.revoked),
    }
