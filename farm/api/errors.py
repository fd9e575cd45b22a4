"""Every refusal in one form: {"error": {"what", "where", "remedy"}}."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from farm.config import nearest
from farm.model import Item, JobSpec, StepSpec
from farm.refusal import Refusal


class Unauthorized(Exception):
    """No token, or a wrong one."""


def install(app: FastAPI) -> None:
    """Answer every error of ours, of pydantic, of the framework and of the disk in that form."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Unauthorized, _unauthorized)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _other)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(OSError, _disk)


def _answer(status: int, what: str, where: str = "", remedy: str = "") -> JSONResponse:
    return JSONResponse({"error": {"what": what, "where": where, "remedy": remedy}}, status)


def _refused(_request: Request, error: Any) -> JSONResponse:
    return _answer(error.status, error.what, error.where, error.remedy)


def _unauthorized(_request: Request, _error: Any) -> JSONResponse:
    return _answer(401, "no token, or a wrong one", "Authorization", "send the token of the home's file `token`")


def _other(request: Request, error: Any) -> JSONResponse:
    return _answer(error.status_code, str(error.detail), request.url.path, "see docs/api.md")


def _disk(_request: Request, error: Any) -> JSONResponse:
    return _answer(
        503, f"{error.strerror or error}", str(error.filename or "the home"), "look at the disk; `farm doctor` helps"
    )


def _database(_request: Request, error: Any) -> JSONResponse:
    return _answer(503, f"the database can't be used: {error.orig}", "farm.db", "look at the disk; `farm doctor` helps")


def _invalid(_request: Request, error: Any) -> JSONResponse:
    found = error.errors()[0]
    place = [str(part) for part in found["loc"] if part not in ("body", "query", "path")]
    where = ".".join(place)
    if found["type"] == "extra_forbidden":
        return _answer(400, f"unknown key {place[-1]!r}{nearest(place[-1], _keys(place[:-1]))}", where)
    message = found["msg"].removeprefix("Value error, ")
    return _answer(400, message, where or "the request's body")


def _keys(path: list[str]) -> list[str]:
    """What may stand at this place of a job."""
    model: type[BaseModel] = JobSpec
    if "steps" in path:
        model = Item if "items" in path else StepSpec
    return list(model.model_fields)
