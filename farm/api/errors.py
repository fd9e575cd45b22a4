"""Every refusal in one form: {"error": {"what", "where", "remedy"}}."""

import errno
import logging
import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from farm import postgres
from farm.api.document import allowed
from farm.model import Item, JobSpec, StepSpec
from farm.refusal import Refusal
from farm.wording import nearest, plain

log = logging.getLogger(__name__)

LONGEST = 200  # characters of what was sent, in an answer that repeats it
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Unauthorized(Exception):
    """No token, or one that is not good; `token` is its id where it is known."""

    def __init__(self, what: str, token: str = "") -> None:
        super().__init__(what)
        self.what, self.token = what, token


class Unfit(HTTPException):
    """A request that can't be read. Of this class, so that the framework hands it on untouched."""

    def __init__(self, status: int, what: str, where: str, remedy: str) -> None:
        super().__init__(status, what)
        self.where, self.remedy = where, remedy


def install(app: FastAPI) -> None:
    """Answer every error of ours, of pydantic, of the framework and of the disk in that form."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Unauthorized, _unauthorized)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _other)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(DatabaseError, _database)
    app.add_exception_handler(NoConnection, _busy)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(Exception, _unexpected)


def _answer(status: int, what: str, where: str = "", remedy: str = "") -> JSONResponse:
    return JSONResponse({"error": {"what": what, "where": where, "remedy": remedy}}, status)


def _refused(request: Request, error: Any) -> JSONResponse:
    if error.status == 403:
        who = getattr(request.state, "principal", None)
        _note(request, error.what, who.token if who else "")
    made = _answer(error.status, error.what, error.where, error.remedy)
    if seconds := getattr(error, "retry_s", 0):
        made.headers["Retry-After"] = str(seconds)
    return made


def _note(request: Request, why: str, token: str) -> None:
    """What was refused is counted."""
    address = request.client.host if request.client else ""
    request.app.state.farm.refusals.note(address or "this machine", request.url.path, why, token)


def _unauthorized(request: Request, error: Any) -> JSONResponse:
    _note(request, error.what, error.token)
    remedy = "send the token of the home's file `token`, or one made by `farm token create`"
    made = _answer(401, error.what, "Authorization", remedy)
    made.headers["WWW-Authenticate"] = "Bearer"
    return made


def _other(request: Request, error: Any) -> JSONResponse:
    where, remedy = getattr(error, "where", request.url.path[:LONGEST]), getattr(error, "remedy", "see docs/api.md")
    made = _answer(error.status_code, str(error.detail), where, remedy)
    made.headers.update(error.headers or {})
    if error.status_code == 405 and (methods := allowed(request.url.path)):
        made.headers["Allow"] = methods
    return made


def _left(_request: Request, _error: Any) -> JSONResponse:
    """Nobody reads this."""
    return _answer(400, "the connection was closed before the body had come")


def _disk(_request: Request, error: Any) -> JSONResponse:
    where, remedy = str(error.filename or "the home"), "look at the disk; `farm doctor` helps"
    if error.errno in _FULL:
        return _answer(507, "the farm's disk is full; nothing was kept", where, "make room on it, then try again")
    return _answer(503, f"{error.strerror or error}", where, remedy)


def _database(request: Request, error: Any) -> JSONResponse:
    if "disk is full" in str(error.orig):
        return _answer(507, "the farm's disk is full; nothing was kept", "farm.db", "make room on it, then try again")
    if not isinstance(error.orig, sqlite3.Error) and (what := postgres.said(error)):
        log.error("the database has refused: %s", what)
        said, _, remedy = what.partition("; ")
        made = _answer(507 if postgres.full(error) else 503, said, request.app.state.farm.db.where, remedy)
        if postgres.returns(error):
            made.headers["Retry-After"] = "1"
        return made
    log.error("the database has refused", exc_info=error)
    if isinstance(error, IntegrityError | ProgrammingError):
        return _unexpected(request, error)
    if "locked" in str(error.orig):
        remedy = "end that program (`fuser` names it) and try again"
        return _answer(503, "another program holds the database locked", "farm.db", remedy)
    return _answer(503, f"the database can't be used: {error.orig}", "farm.db", "look at the disk; `farm doctor` helps")


def _busy(_request: Request, _error: Any) -> JSONResponse:
    return _answer(503, "the database is too busy", "farm.db", "try again in a minute")


def _unexpected(request: Request, error: Any) -> JSONResponse:
    """A defect of ours. The server writes the traceback to its log."""
    what = f"something unexpected happened: {type(error).__name__}"
    return _answer(
        500, what, request.url.path[:LONGEST], "the details are in service.log of the home: please report them"
    )


def _invalid(request: Request, error: Any) -> JSONResponse:
    found = error.errors()[0]
    *way, last = found["loc"]
    place = [str(part)[:LONGEST] for part in way if part not in ("body", "query", "path") and "[" not in str(part)]
    if way or last not in ("body", "query", "path"):
        place.append(str(last)[:LONGEST])
    where = ".".join(place)
    if found["type"] == "extra_forbidden":
        known = request.url.path == "/v1/jobs"
        remedy = nearest(place[-1], _keys(place[:-1])) if known else "leave it out; see /openapi.json"
        return _answer(400, f"unknown key {place[-1]!r}", where, remedy)
    what, remedy = plain(found, place[-1] if place else "the body")
    return _answer(400, what, where or "the request's body", remedy)


def _keys(path: list[str]) -> list[str]:
    """What may stand at this place of a job."""
    model: type[BaseModel] = JobSpec
    if "steps" in path:
        model = Item if "items" in path else StepSpec
    return list(model.model_fields)
