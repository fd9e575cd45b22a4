"""The content store over HTTP."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from farm.api.bodies import Checked
from farm.api.farmed import Farmed
from farm.packs import SMALL, Unpacking
from farm.refusal import NotFound, Refusal

router = APIRouter(route_class=Checked)
PIECE = 1 << 20  # bytes that are written at once
MOST_ASKED = 100_000


class Wanted(BaseModel):
    """Files that somebody could bring."""

    model_config = ConfigDict(extra="forbid")
    digests: Annotated[
        tuple[Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")], ...], Field(max_length=MOST_ASKED)
    ]


@router.post("/store/missing")
def missing(farm: Farmed, wanted: Wanted) -> dict[str, list[str]]:
    """Those of the digests that the store does not hold."""
    return {"missing": [digest for digest in dict.fromkeys(wanted.digests) if not farm.store.has(digest)]}


@router.post("/store/pack", status_code=201)
async def pack(farm: Farmed, request: Request) -> dict[str, int]:
    """Many small files, each `DIGEST SIZE LF CONTENTS`. Those before a damaged one may have been kept."""
    taking = Unpacking(farm.store, SMALL)
    try:
        async for piece in _pieces(request):
            await run_in_threadpool(taking.feed, piece)
        await run_in_threadpool(taking.end)
    finally:
        await run_in_threadpool(taking.drop)
    return {"files": taking.files}


@router.put("/store/{digest}", status_code=201)
async def put(farm: Farmed, digest: str, request: Request) -> dict[str, str]:
    """Written as it comes, beside the event loop. Refused when the body is not what the digest says."""
    _known(farm, digest)
    coming = await run_in_threadpool(farm.store.incoming)
    try:
        async for piece in _pieces(request):
            await run_in_threadpool(coming.write, piece)
        if coming.digest != digest:
            remedy = "send the file that the digest was made of"
            raise Refusal(f"the body's sha256 is {coming.digest}", f"store/{digest}", remedy)
        await run_in_threadpool(farm.store.take, coming)
    finally:
        coming.drop()
    return {"digest": digest}


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces that are worth a thread's while."""
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


@router.head("/store/{digest}")
def head(farm: Farmed, digest: str) -> Response:
    return Response(status_code=200 if _known(farm, digest) else 404)


@router.get("/store/{digest}")
def get(farm: Farmed, digest: str) -> FileResponse:
    if not _known(farm, digest):
        raise NotFound(f"the store has no {digest}")
    return FileResponse(farm.store.path(digest), media_type="application/octet-stream")


def _known(farm: Farmed, digest: str) -> bool:
    try:
        return farm.store.has(digest)
    except ValueError as error:
        raise Refusal(str(error), "store") from error
