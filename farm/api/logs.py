"""Logs, as bytes."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.api.polls import Left, poll
from farm.logbook import Part, part
from farm.model import BIG
from farm.reference import Reference, parse_reference

router = APIRouter(route_class=Checked)


@router.get("/logs/{ref}", response_class=Response)
async def log(
    farm: Farmed,
    request: Request,
    ref: str,
    offset: Annotated[int, Query(ge=0, le=BIG)] = 0,
    wait: Annotated[float, Query(ge=0, le=30)] = 0,
) -> Response:
    """From `offset`; with `wait` seconds it blocks while there is nothing."""
    about = parse_reference(ref)
    return _answer(await poll(farm, request, lambda left: _wait(farm, about, offset, wait, left)))


def _wait(farm: Farmed, about: Reference, offset: int, wait: float, left: Left) -> Part:
    end = farm.clock.now().timestamp() + wait
    while True:
        mark = farm.feed.mark(about.job)
        found = _look(farm, about, offset)
        rest = end - farm.clock.now().timestamp()
        if found.data or found.final or rest <= 0 or left():
            return found
        if not farm.feed.wait(about.job, mark, rest, logs=True, left=left):
            return found


def _look(farm: Farmed, about: Reference, offset: int) -> Part:
    with farm.db.read() as tx:
        return part(tx, farm.home.logs, about, offset, farm.sites.shipped if farm.sites else {})


def _answer(found: Part) -> Response:
    headers = {"Farm-Offset": str(found.next), "Farm-Final": "true" if found.final else "false"}
    if found.note:
        headers["Farm-Note"] = found.note
    return Response(found.data, media_type="application/octet-stream", headers=headers)
