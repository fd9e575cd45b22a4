"""The HTTP API. docs/api.md is the table of it; /openapi.json the document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI

from farm import __version__
from farm.api import (
    access,
    acts,
    ca,
    document,
    errors,
    files,
    fleet,
    health,
    jobs,
    join,
    logs,
    prune,
    queries,
    rebuilds,
    reports,
    standby,
    sync,
    tokens,
)
from farm.api import why as reasons
from farm.api.bodies import Bounded
from farm.api.forwarding import forwarding

if TYPE_CHECKING:
    from farm.context import Farm

THREADS = 256  # long polls sit on threads


def app(farm: "Farm") -> FastAPI:
    """The API of one farm, as an ASGI application."""
    check = access.identified(farm)
    guard = access.guarded(check)
    made = FastAPI(
        title="Farm",
        version=__version__,
        lifespan=_roomy,
        dependencies=[Depends(guard), Depends(queries.check)],
        docs_url=None,
        redoc_url=None,
    )
    made.state.farm, made.state.guard = farm, guard
    made.state.forward = forwarding(farm) if farm.leader is not None else None
    errors.install(made)
    made.add_middleware(Bounded, largest_upload=farm.config.api.largest_upload)
    made.router.routes.insert(0, sync.route(farm, check))
    for part in (jobs, logs, fleet, files, reports, rebuilds, reasons, prune, join, health, acts, ca, tokens, standby):
        made.include_router(part.router, prefix="/v1")
    document.install(made)
    return made


@asynccontextmanager
async def _roomy(_app: FastAPI) -> AsyncIterator[None]:
    from anyio import to_thread

    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
