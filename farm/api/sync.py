"""The gateways' entrance; see executors/site/protocol.py."""

from functools import partial
from typing import TYPE_CHECKING

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.routing import Route

from executors.site.protocol import CONTENT_TYPE, PROTOCOL, Report, decode_report, encode_answer
from farm.api.access import Check, check_site
from farm.api.polls import held
from farm.api.soundness import check
from farm.refusal import Conflict, NotFound, Refusal

if TYPE_CHECKING:
    from farm.context import Farm


def route(farm: "Farm", check_token: Check) -> Route:
    """Beside the framework, not inside: this is called for every batch of tasks, and half its cost was routing."""

    async def sync(request: Request) -> Response:
        site = request.path_params["site"]
        check_site(await check_token(request), site)
        if (forward := request.app.state.forward) is not None:
            return await forward(request, "post /v1/sites/{site}/sync")  # type: ignore[no-any-return]
        body = await request.body()
        answer = await run_in_threadpool(_sync, farm, site, body)
        if not isinstance(answer, bytes):  # who waits holds up nobody
            answer = await held(partial(_answer, farm, site, answer))
        return Response(answer, media_type=CONTENT_TYPE)

    return Route("/v1/sites/{site}/sync", sync, methods=["POST"], include_in_schema=False)


def _sync(farm: "Farm", site: str, body: bytes) -> bytes | Report:
    """The answer; the report where it is willing to wait for one."""
    report = _read(body)
    return report if report.wait_s > 0 else _answer(farm, site, report)


def _answer(farm: "Farm", site: str, report: Report) -> bytes:
    if farm.sites is None:
        raise NotFound(f"there is no site {site!r}")
    return encode_answer(farm.sites.sync(report, site))


def _read(body: bytes) -> Report:
    """Raises Refusal."""
    try:
        report = decode_report(body)
        check(report)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(
            f"that is no report: {str(error)[:200]!a}", "sync", "bring gateway and farm to one version"
        ) from error
    if abs(report.protocol - PROTOCOL) > 1:
        raise Conflict(f"protocol {report.protocol} is not understood here", "sync", f"bring it to {PROTOCOL}")
    return report
