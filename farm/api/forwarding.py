"""In a process that serves the API and does not lead: what only the leader can do is asked of it, for the caller."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from farm import read
from farm.leader_link import FORWARDED, Asked, Deaf, NoLeader, Reply
from farm.reference import parse_reference
from farm.refusal import Refusal, Unavailable

if TYPE_CHECKING:
    from farm.context import Farm

Forward = Callable[..., Awaitable[Response | None]]
"""The leader's answer, or None where this process answers by itself."""

PREFIX = "/v1"
POLL_S, SYNC_S = 45.0, 150.0  # longer than the longest long poll of each
ENDED = ("done", "failed", "cancelled")
_PASSED = ("authorization", "content-type", "accept", "idempotency-key")
_OWN = ("connection", "content-length", "transfer-encoding", "date", "server", "farm-api", "farm-version")


class Who(Enum):
    """Who answers."""

    LEADER = auto()  # and nobody else
    ANY = auto()  # the leader; where nobody leads, whoever is asked: the next leader finds it in the database
    WRITER = auto()  # as ANY on SQLite, where who stands still in the middle of a change would hold up all others


ASKED = {
    "post /v1/sites/{site}/sync": Who.LEADER,
    "post /v1/pools/{pool}/standby": Who.LEADER,
    "post /v1/pools/{pool}/standby/ticket": Who.LEADER,
    "post /v1/join": Who.LEADER,
    "post /v1/join/failed": Who.LEADER,
    "post /v1/down": Who.ANY,
    "get /v1/status": Who.ANY,
    "get /v1/logs/{ref}": Who.ANY,  # of what runs
    "post /v1/jobs/{ref}/cancel": Who.ANY,
    "post /v1/jobs/{ref}/retry": Who.ANY,
    "post /v1/jobs/{job}/set": Who.ANY,
    "post /v1/hold": Who.ANY,
    "post /v1/release": Who.ANY,
    "post /v1/executors/{name}/drain": Who.ANY,
    "post /v1/spending": Who.ANY,
    "get /v1/schedule/plan": Who.ANY,
    "get /v1/why/{ref}": Who.ANY,
    "get /v1/why/executor/{name}": Who.ANY,
    "get /v1/why/pool/{name}": Who.ANY,
    "get /v1/reports/cost": Who.ANY,
    "get /v1/reports/usage": Who.ANY,
    "post /v1/prune": Who.ANY,
    "post /v1/rebuilds": Who.ANY,
    "post /v1/rebuilds/sent": Who.ANY,
    "post /v1/events/git": Who.ANY,
    "post /v1/events/sent": Who.ANY,
    "post /v1/tokens/{token}/revoke": Who.ANY,
    "get /v1/refused": Who.ANY,
    "post /v1/ca/rotate": Who.ANY,
    "post /v1/jobs": Who.WRITER,
    "post /v1/jobs/many": Who.WRITER,
    "get /v1/pools": Who.WRITER,
    "get /v1/schedule": Who.WRITER,
    "post /v1/tokens": Who.WRITER,
    "get /v1/tokens": Who.WRITER,
}


def forwarding(farm: "Farm") -> Forward:
    """For a process that does not lead."""

    async def forward(request: Request, call: str = "") -> Response | None:
        call = call or called(request)
        if not _is_the_leaders(farm, call) or await _is_told_here(farm, call, request):
            return None
        if FORWARDED in request.headers:
            what = "the leader's address leads to a process that does not lead"
            raise Unavailable(what, "[listen]", "let `url` below [listen] name what goes on to the leader")
        try:
            return _answer(await _ask(farm, request, SYNC_S if call.endswith("/sync") else POLL_S))
        except NoLeader:
            if ASKED[call] is Who.LEADER:
                raise
            return None

    return forward


def called(request: Request) -> str:
    """As in the tables of calls."""
    path = str(request.scope["route"].path)  # without the prefix of the router, in some versions of the framework
    return f"{request.method.lower()} {path if path.startswith(f'{PREFIX}/') else PREFIX + path}"


def _is_the_leaders(farm: "Farm", call: str) -> bool:
    who = ASKED.get(call)
    return who is not None and (who is not Who.WRITER or farm.db.sqlite)


async def _is_told_here(farm: "Farm", call: str, request: Request) -> bool:
    """The log of what has ended is whole in the home."""
    return call == "get /v1/logs/{ref}" and await run_in_threadpool(_ended, farm, request.path_params["ref"])


def _ended(farm: "Farm", ref: str) -> bool:
    try:
        with farm.db.read() as tx:
            return read.job_row(tx, parse_reference(ref).job).state in ENDED
    except Refusal:
        return True  # and is told so here


async def _ask(farm: "Farm", request: Request, patience_s: float) -> Reply:
    """The question is dropped when whoever asked has left."""
    assert farm.leader is not None
    body = await request.body()
    headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
    query = request.scope["query_string"].decode("latin-1")
    target = request.scope["raw_path"].decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")
    who = getattr(request.state, "principal", None)
    asked = Asked(request.method, target, headers, body, who)
    asking = asyncio.ensure_future(farm.leader.ask(asked, patience_s))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise Deaf("whoever asked has left")
        return asking.result()
    finally:
        asking.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _answer(reply: Reply) -> Response:
    made = Response(reply.body, reply.status)
    for name, value in reply.headers.items():
        if name not in _OWN:
            made.headers[name] = value
    return made
