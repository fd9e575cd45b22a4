"""Owned machines that stand by: a ticket becomes a machine's own token, with which it asks whether there is work."""

import hashlib
import re
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import bindparam, insert, select

from executors.contract import NOBODY, Answer, Standby, StandsBy
from farm import auth, fleet
from farm import tables as t
from farm.api.access import Asking
from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.api.polls import held
from farm.auth import Kind, Principal
from farm.breaker import close_breaker
from farm.refusal import Conflict, Forbidden, NotFound
from farm.wording import nearest

router = APIRouter(route_class=Checked)
LONGEST_S = 30.0  # of one answer
Line = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(max_length=300)]

_USED = select(t.Joined).where(t.Joined.executor == bindparam("k"))
_USE = insert(t.Joined)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Coming(_Body):
    """`nonce` is the machine's own: who lost our answer asks again with the same."""

    host: Line = ""
    nonce: Name = ""
    python: Name = ""


class Word(_Body):
    """See `executors.contract.Standby`; `wait_s` is how long the machine is willing to wait for an answer."""

    slots: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    free: Annotated[bool, Field(strict=True)]
    why: Line = ""
    running: Name = ""
    ended: Name = ""
    error: Annotated[str, Field(max_length=4000)] = ""
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.0


@router.post("/pools/{pool}/standby/ticket")
def enter(farm: Farmed, who: Asking, pool: str, coming: Coming) -> dict[str, Any]:
    """A ticket is good once, for its own pool."""
    _standing(farm, who, pool)
    now, key = farm.clock.now(), f"ticket {who.token}"
    nonce = hashlib.sha256(coming.nonce.encode()).hexdigest()
    machine = f"{re.sub('[^A-Za-z0-9.-]+', '-', coming.host)[:60] or 'machine'}-{who.token[:4]}"
    with farm.db.write() as tx:
        before = tx.execute(_USED, {"k": key}).one_or_none()
        if before is not None and (not coming.nonce or before.nonce != nonce):
            what = f"this ticket was used before, by {before.host or 'a machine without a name'}"
            raise Forbidden(what, "Authorization", f"make another: `farm token create --join {pool}`")
        if before is None:
            row = {"executor": key, "pool": pool, "at": now, "nonce": nonce, "host": coming.host}
            tx.execute(_USE, {**row, "python": coming.python, "ray": ""})
        made = auth.create_token(tx, Kind.STANDBY, now, name=machine, pool=pool, executor=machine, by=who.token)
    return {"token": made[1], "machine": machine, "farm": farm.id}


@router.post("/pools/{pool}/standby")
async def stand_by(farm: Farmed, who: Asking, pool: str, word: Word) -> dict[str, Any]:
    """A long poll: it is answered when there is something to do, or when the time is up."""
    provider, said, answer = await run_in_threadpool(_heed, farm, who, pool, word)
    if (
        answer == Answer() and word.wait_s
    ):  # who waits holds up nobody; where there is no room, it was heard all the same
        answer = await held(partial(provider.answer, said, timedelta(seconds=word.wait_s)))
    return asdict(answer) | {"note": _note(farm, pool, word.slots)}


def _heed(farm: Farmed, who: Principal, pool: str, word: Word) -> tuple[StandsBy, Standby, Answer]:
    """What there is to answer at once."""
    provider = _standing(farm, who, pool)
    said = Standby(who.executor, **word.model_dump(exclude={"wait_s"}))
    heard = provider.heed(said)
    if heard.freed or heard.leaves:
        with farm.db.write() as tx:
            if heard.freed:
                close_breaker(tx, pool, NOBODY)
            if heard.leaves:
                fleet.drain(tx, heard.leaves, heard.why, farm.clock.now())
    if heard.freed or heard.leaves or said.ended:
        farm.wake()
    return provider, said, provider.answer(said, timedelta())


def _note(farm: Farmed, pool: str, slots: int) -> str:
    """What the machine tells on its own console; "" for nothing."""
    wanted = farm.config.pools[pool].slots
    if slots >= wanted:
        return ""
    return f"executors of pool {pool} have {wanted} slots, this machine has {slots}: larger tasks go elsewhere"


def _standing(farm: Farmed, who: Principal, pool: str) -> StandsBy:
    """The pool's provider. Raises NotFound, Forbidden, Conflict."""
    if pool not in farm.config.pools:
        raise NotFound(f"there is no pool {pool[:80]!r}", "pool", nearest(pool, farm.config.pools))
    if who.pool != pool:
        raise Forbidden(f"this token is for pool {who.pool!r}, not for {pool[:80]!r}", "Authorization")
    found = farm.wheel.providers.get(pool) if farm.wheel is not None else None
    provider = getattr(found, "inner", found)
    if not isinstance(provider, StandsBy):
        what = f"the machines of pool {pool!r} do not come by themselves"
        raise Conflict(what, "pool", 'say provider = "static" in farm.toml')
    return provider
