"""The content store over HTTP."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from farm.api.farmed import Farmed
from farm.refusal import NotFound, Refusal

router = APIRouter()
PIECE = 1 << 20  # bytes that are written at once


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
