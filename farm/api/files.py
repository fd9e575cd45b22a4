"""The content store over HTTP."""

import io

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from farm.api.farmed import Farmed
from farm.refusal import NotFound, Refusal

router = APIRouter()


@router.put("/store/{digest}", status_code=201)
async def put(farm: Farmed, digest: str, request: Request) -> dict[str, str]:
    """Refused when the body is not what the digest says."""
    import tempfile

    _known(farm, digest)
    with tempfile.TemporaryFile(dir=farm.home.store) as body:
        async for chunk in request.stream():
            body.write(chunk)
        body.seek(0)
        made = await run_in_threadpool(farm.store.put_stream, io.BufferedReader(body.raw))
    if made != digest:
        raise Refusal(f"the body's sha256 is {made}", f"store/{digest}", "send the file that the digest was made of")
    return {"digest": made}


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
