"""Who calls, and whether he may. A call that stands in no line of `NEEDS` is for administrators only."""

import hmac
import os
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection

from farm import read
from farm.api.errors import Unauthorized
from farm.auth import Kind, Known, Principal, Scope, home_principal, token_id
from farm.model import JobSpec
from farm.refusal import Forbidden

if TYPE_CHECKING:
    from farm.context import Farm

PREFIX = "/v1"
NEEDS = {
    "get /v1/status": Scope.READ,
    "post /v1/down": Scope.ADMIN,
    "get /v1/executors": Scope.READ,
    "get /v1/pools": Scope.READ,
    "get /v1/schedule": Scope.READ,
    "get /v1/schedule/plan": Scope.READ,
    "post /v1/jobs": Scope.SUBMIT,
    "post /v1/jobs/many": Scope.SUBMIT,
    "get /v1/jobs": Scope.READ,
    "get /v1/jobs/{job}": Scope.READ,
    "get /v1/jobs/{job}/tasks": Scope.READ,
    "get /v1/jobs/{job}/wait": Scope.READ,
    "post /v1/jobs/{ref}/cancel": Scope.OWN,
    "post /v1/jobs/{ref}/retry": Scope.OWN,
    "post /v1/jobs/{job}/set": Scope.OWN,
    "post /v1/hold": Scope.OWN,
    "post /v1/release": Scope.OWN,
    "post /v1/executors/{name}/drain": Scope.OPERATE,
    "post /v1/spending": Scope.OPERATE,
    "get /v1/acts": Scope.READ,
    "get /v1/tasks/{ref}": Scope.READ,
    "get /v1/logs/{ref}": Scope.READ,
    "get /v1/why/{ref}": Scope.READ,
    "get /v1/why/executor/{name}": Scope.READ,
    "get /v1/why/pool/{name}": Scope.READ,
    "post /v1/store/missing": Scope.FETCH,
    "post /v1/store/pack": Scope.STORE,
    "put /v1/store/{digest}": Scope.STORE,
    "head /v1/store/{digest}": Scope.FETCH,
    "get /v1/store/{digest}": Scope.FETCH,
    "get /v1/reports/cost": Scope.READ,
    "get /v1/reports/usage": Scope.READ,
    "post /v1/prune": Scope.ADMIN,
    "post /v1/rebuilds": Scope.ADMIN,  # reads folders of the farm's machine
    "post /v1/rebuilds/sent": Scope.SUBMIT,
    "post /v1/events/git": Scope.ADMIN,
    "post /v1/events/sent": Scope.SUBMIT,
    "post /v1/sites/{site}/sync": Scope.SYNC,
    "post /v1/pools/{pool}/standby": Scope.STANDBY,
    "post /v1/pools/{pool}/standby/ticket": Scope.JOIN,
    "post /v1/join": Scope.PUBLIC,
    "post /v1/join/failed": Scope.PUBLIC,
    "get /v1/executor.pyz": Scope.PUBLIC,
    "get /v1/health": Scope.PUBLIC,
    "post /v1/tokens": Scope.ADMIN,
    "get /v1/tokens": Scope.ADMIN,
    "post /v1/tokens/{token}/revoke": Scope.ADMIN,
    "get /v1/refused": Scope.OPERATE,
    "get /v1/ca": Scope.PUBLIC,
    "post /v1/ca/rotate": Scope.ADMIN,
    "get /openapi.json": Scope.PUBLIC,
    "head /openapi.json": Scope.PUBLIC,
}
Check = Callable[[Request], Awaitable[Principal]]


def identified(farm: "Farm") -> Check:
    """Tells whose token a request carries, also as `request.state.principal`. Raises Unauthorized, Forbidden."""
    expected = f"Bearer {farm.home.token()}".encode()
    home = home_principal(_user())

    async def check(request: Request) -> Principal:
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, expected):
            _check_near(request)
            found = home
        else:
            found = await _bearer(farm, given)
        request.state.principal = found
        return found

    return check


def guarded(check: Check) -> Callable[[Request], Awaitable[None]]:
    """Refuses who may not make this call; for the routes of the framework. Asked again, it has nothing to do."""

    async def guard(request: Request) -> None:
        if getattr(request.state, "guarded", False):
            return
        path = str(request.scope["route"].path)  # without the prefix of the router, in some versions of the framework
        full = path if path.startswith(f"{PREFIX}/") else PREFIX + path
        needed = NEEDS.get(f"{request.method.lower()} {full}", Scope.ADMIN)
        if needed != Scope.PUBLIC:
            allowed(await check(request), needed)
        request.state.guarded = True

    return guard


def allowed(who: Principal, needed: Scope) -> Principal:
    """Raises Forbidden."""
    if not who.may(needed):
        has = f"a {who.kind} token" if who.kind != Kind.PERSON else "this token"
        remedy = f"ask for one with it: `farm token create --owner {who.owner or 'NAME'} --scope {needed}`"
        raise Forbidden(f"{has} has not the scope {needed!s}", "Authorization", remedy)
    return who


def check_site(who: Principal, site: str) -> None:
    """Who speaks for a site: the farm's own gateway, or the executor that it is. Raises Forbidden."""
    if who.kind != Kind.HOME and site != allowed(who, Scope.SYNC).executor:
        raise Forbidden(f"this token does not speak for the site {site[:200]!r}", "Authorization")


def check_own(tx: Connection, who: Principal, job: int) -> None:
    """Whether he may act on this job: everybody on his own, operators on all. Raises Forbidden, NotFound."""
    owner = read.job_row(tx, job).owner
    if not who.may(Scope.OPERATE) and owner != who.owner:
        remedy = "ask its owner, or somebody with the scope operate"
        raise Forbidden(f"job {job} belongs to {owner}, and you are {who.owner}", "Authorization", remedy)


def check_secrets(farm: "Farm", who: Principal, spec: JobSpec) -> None:
    """The service reads them, so from afar only what was put into the home's folder for it can be named: else everybody
    could have a task print any file of the farm's user. Raises Forbidden."""
    if who.kind == Kind.HOME or who.may(Scope.ADMIN):
        return
    folder = os.path.realpath(farm.home.path / "secrets")
    for step in spec.steps:
        for name, reference in step.secrets.items():
            kind, _, path = reference.partition(":")
            if kind != "file" or not os.path.realpath(path).startswith(folder + os.sep):
                remedy = f"ask an administrator to put it into {folder}, then write {name}=file:{folder}/NAME"
                raise Forbidden(f"{reference[:100]!r} may not be read for you", f"--secret {name}", remedy)


def check_kind(who: Principal, spec: JobSpec) -> None:
    """What a job of packages makes is published under the names that it says itself: such jobs are planned by the farm,
    from sources. Raises Forbidden."""
    if spec.kind == "packages" and who.kind != Kind.HOME and not who.may(Scope.OPERATE):
        remedy = "send the sources: `farm rebuild`"
        raise Forbidden("packages are published from what their sources say", "kind", remedy)


def owner(who: Principal, said: str) -> str:
    """Whose job it becomes. Only the farm's own user says on whose behalf."""
    return said if who.kind == Kind.HOME else who.owner


def _principal(request: Request) -> Any:
    return request.state.principal


Asking = Annotated[Principal, Depends(_principal)]
"""Who calls, as a parameter of an endpoint."""


async def _bearer(farm: "Farm", given: bytes) -> Principal:
    scheme, _, secret = given.decode(errors="replace").partition(" ")
    found = None
    if scheme.lower() == "bearer":
        found = farm.tokens.remembered(secret) or await run_in_threadpool(farm.tokens.look, secret)
    if found is None:
        raise Unauthorized("no token, or a wrong one", token=token_id(secret))
    return _good(farm, found)


def _good(farm: "Farm", found: Known) -> Principal:
    if bad := found.bad(farm.clock.now()):
        raise Unauthorized(f"this token is {bad}", token=found.principal.token)
    return found.principal


def _check_near(request: Request) -> None:
    """The home's own token is good on this machine only: a file that can do everything must not be worth a theft."""
    client = request.client
    if client is not None and client.host and not _loopback(client.host):
        remedy = "make one for who calls from afar: `farm token create`"
        raise Forbidden("the home's own token is good on the farm's machine only", "Authorization", remedy)


def _loopback(host: str) -> bool:
    try:
        found = ip_address(host)
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    except ValueError:
        return False


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
