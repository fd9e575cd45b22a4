"""The gateways' entrance; see executors/site/protocol.py."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.routing import Route

from executors.site.protocol import CONTENT_TYPE, PROTOCOL, decode_report, encode_answer
from farm.api.soundness import check
from farm.home import SITE
from farm.refusal import Conflict, NotFound, Refusal

if TYPE_CHECKING:
    from farm.context import Farm


def route(farm: "Farm", authorised: Callable[[Request], Awaitable[None]]) -> Route:
    """Beside the framework, not inside: this is called for every batch of tasks, and half its cost was routing."""

    async def sync(request: Request) -> Response:
        await authorised(request)
        body = await request.body()
        site = request.path_params["site"]
        return Response(await run_in_threadpool(_sync, farm, site, body), media_type=CONTENT_TYPE)

    return Route("/v1/sites/{site}/sync", sync, methods=["POST"], include_in_schema=False)


def _sync(farm: "Farm", site: str, body: bytes) -> bytes:
    if site != SITE or farm.sites is None:
        raise NotFound(f"there is no site {site!r}")
    try:
        report = decode_report(body)
        check(report)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(
            f"that is no report: {str(error)[:200]!a}", "sync", "bring gateway and farm to one version"
        ) from error
    if abs(report.protocol - PROTOCOL) > 1:
        raise Conflict(f"protocol {report.protocol} is not understood here", "sync", f"bring it to {PROTOCOL}")
    return encode_answer(farm.sites.sync(report))
