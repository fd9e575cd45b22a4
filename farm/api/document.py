"""/openapi.json tells what really comes back: the shape of every answer, and every way to be refused."""

import re
from typing import Any, Literal, NamedTuple

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from farm.api import shapes, shapes_access, shapes_schedule

JSON, BYTES = "application/json", "application/octet-stream"
REFUSALS = {
    400: "The request is wrong.",
    401: "No token, or a wrong one.",
    403: "This token may not.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "Not in this state.",
    413: "The body is too large.",
    503: "The farm's disk or database can't be used.",
    507: "The farm's disk is full; nothing was kept.",
}
_HOLE = re.compile(r"\{[a-z]+\}")
_ALWAYS, _BODY = (401, 403, 503, 507), (400, 408, 413)


class Told(NamedTuple):
    """What an operation answers when all is well (None: no body), and the refusals of its own."""

    shape: type[BaseModel] | str | None
    refusals: tuple[int, ...] = ()


ANSWERS = {
    "get /v1/status": Told(shapes.Status),
    "post /v1/down": Told(shapes.Stopping, (*_BODY, 409)),
    "get /v1/executors": Told(shapes.Executors, (400,)),
    "get /v1/pools": Told(shapes.Pools),
    "get /v1/schedule": Told(shapes_schedule.Schedule, (400,)),
    "get /v1/schedule/plan": Told(shapes_schedule.Plan, (400,)),
    "post /v1/jobs": Told(shapes.Created, (*_BODY, 409)),
    "post /v1/jobs/many": Told(shapes.CreatedMany, (*_BODY, 409)),
    "get /v1/jobs": Told(shapes.Jobs, (400,)),
    "get /v1/jobs/{job}": Told(shapes.JobShown, (400, 404)),
    "get /v1/jobs/{job}/tasks": Told(shapes.Tasks, (400, 404)),
    "get /v1/jobs/{job}/wait": Told(shapes.Waited, (400, 404)),
    "post /v1/jobs/{ref}/cancel": Told(shapes.Changed, (400, 404, 409)),
    "post /v1/jobs/{ref}/retry": Told(shapes.Changed, (400, 404, 409)),
    "post /v1/jobs/{job}/set": Told(shapes.Otherwise, (*_BODY, 404, 409)),
    "post /v1/hold": Told(shapes.Holding, (*_BODY, 404, 409)),
    "post /v1/release": Told(shapes.Holding, (*_BODY, 404, 409)),
    "post /v1/executors/{name}/drain": Told(shapes.Drained, (*_BODY, 404, 409)),
    "post /v1/spending": Told(shapes.SpendingNow, (*_BODY, 409)),
    "get /v1/acts": Told(shapes.Acts, (400, 404)),
    "get /v1/tasks/{ref}": Told(shapes.TaskNow, (400, 404)),
    "get /v1/logs/{ref}": Told(BYTES, (400, 404)),
    "get /v1/why/{ref}": Told(shapes.Reason, (400, 404)),
    "get /v1/why/executor/{name}": Told(shapes.Reason, (404,)),
    "get /v1/why/pool/{name}": Told(shapes.Reason, (404,)),
    "post /v1/store/missing": Told(shapes.Missing, _BODY),
    "post /v1/store/pack": Told(shapes.Unpacked, _BODY),
    "put /v1/store/{digest}": Told(shapes.Stored, (*_BODY, 404)),
    "head /v1/store/{digest}": Told(None, (400, 404)),
    "get /v1/store/{digest}": Told(BYTES, (400, 404)),
    "get /v1/reports/cost": Told(shapes.Bill, (400,)),
    "get /v1/reports/usage": Told(shapes.Bill, (400,)),
    "post /v1/pools/{pool}/standby": Told(shapes.Summons, (*_BODY, 404, 409)),
    "post /v1/pools/{pool}/standby/ticket": Told(shapes.StandbyToken, (*_BODY, 404, 409)),
    "post /v1/join": Told(shapes.Admitted, (*_BODY, 403, 409)),
    "post /v1/join/failed": Told(shapes.Noted, (*_BODY, 403)),
    "get /v1/executor.pyz": Told("application/zip"),
    "get /v1/health": Told(shapes.Health),
    "post /v1/tokens": Told(shapes_access.NewToken, _BODY),
    "get /v1/tokens": Told(shapes_access.Tokens, (400,)),
    "post /v1/tokens/{token}/revoke": Told(shapes_access.Token, (400, 404)),
    "get /v1/refused": Told(shapes_access.RefusedCalls),
    "get /v1/ca": Told(shapes_access.Trusted),
    "post /v1/ca/rotate": Told(shapes_access.Rotated, (*_BODY, 409)),
    "post /v1/prune": Told(shapes.Pruned, _BODY),
    "post /v1/rebuilds": Told(shapes.Planned, (*_BODY, 409)),
    "post /v1/rebuilds/sent": Told(shapes.Planned, (*_BODY, 409)),
    "post /v1/events/git": Told(shapes.Planned, _BODY),
    "post /v1/events/sent": Told(shapes.Planned, _BODY),
}


def allowed(path: str) -> str:
    """The methods of a path, for `Allow`; the framework tells those of one route only."""
    calls = (call.partition(" ") for call in ANSWERS)
    return ", ".join(sorted(how.upper() for how, _, known in calls if re.fullmatch(_HOLE.sub("[^/]+", known), path)))


def install(app: FastAPI) -> None:
    """Tell it once, when somebody asks."""
    plain = app.openapi

    def told() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(plain())
        return plain()

    app.openapi = told  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    parts = document.setdefault("components", {})
    known: set[type[Any]] = {shapes.Error, *(told.shape for told in ANSWERS.values() if isinstance(told.shape, type))}
    inputs: list[tuple[type[Any], Literal["serialization"]]] = [(shape, "serialization") for shape in known]
    _, made = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
    of_framework = {name: s for name, s in parts.get("schemas", {}).items() if "ValidationError" not in name}
    parts["schemas"] = made["$defs"] | of_framework
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _operation(method, operation, ANSWERS.get(f"{method} {path}"))


def _operation(method: str, operation: dict[str, Any], told: Told | None) -> None:
    answers = operation["responses"]
    answers.pop("422", None)  # the framework's own; ours are 400
    if told is None:
        return
    if method == "put" or told.shape is shapes.Unpacked:
        operation["requestBody"] = {"required": True, "content": _content(BYTES)}
    fine = next(answer for status, answer in answers.items() if status.startswith("2"))
    fine.pop("content", None)
    if told.shape is not None:
        fine["content"] = _content(told.shape)
    for status in sorted((*_ALWAYS, *told.refusals)):
        answers[str(status)] = {"description": REFUSALS[status]}
        if method != "head":
            answers[str(status)]["content"] = _content(shapes.Error)


def _content(shape: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(shape, str):
        return {shape: {"schema": {"type": "string", "format": "binary"}}}
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}
