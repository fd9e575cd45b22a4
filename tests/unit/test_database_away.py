"""What crossed with another program's locks is carried out again; who asks while the server is away asks again."""

import io
import json
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from starlette.requests import Request

from farm.api import errors
from farm.api.bodies import TRIES, Checked
from farm.client import Answer, Client
from farm.embedded import AsgiTransport
from farm.patience import Away, Patience
from farm.refusal import Refusal


class Served:
    """An API of one call, whose database fails as often as it is told to, in this way."""

    def __init__(self, error: type[psycopg.Error], times: int) -> None:
        self.error, self.times = error, times
        self.seen: list[Any] = []
        self.where = "postgresql://farm@db/farm"
        from fastapi import APIRouter, FastAPI

        app, router = FastAPI(), APIRouter(route_class=Checked)
        router.add_api_route("/v1/jobs", self.answer, methods=["POST"])
        app.include_router(router)
        app.state.guard, app.state.farm = self.guard, self
        self.db = self
        errors.install(app)
        self.client = Client(AsgiTransport(app), "token")

    async def guard(self, _request: Request) -> None:
        """Everybody may."""

    async def answer(self, request: Request) -> dict[str, Any]:
        self.seen.append(await request.json())
        if len(self.seen) <= self.times:
            raise OperationalError("UPDATE job", {}, self.error("a secret detail"))
        return {"id": 7}


@pytest.mark.parametrize("error", [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure])
def test_it_is_carried_out_again_as_it_was_asked(error: type[psycopg.Error]) -> None:
    served = Served(error, TRIES - 1)
    assert served.client.post("/v1/jobs", {"name": "x"}) == {"id": 7}
    assert served.seen == [{"name": "x"}] * TRIES


def test_not_for_ever() -> None:
    served = Served(psycopg.errors.DeadlockDetected, 100)
    with pytest.raises(Away, match="locks crossed with the farm's") as refusal:
        served.client.post("/v1/jobs", {})
    assert len(served.seen) == TRIES
    assert refusal.value.where == "postgresql://farm@db/farm"
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (psycopg.errors.AdminShutdown, 503, Away),
        (psycopg.errors.ReadOnlySqlTransaction, 503, Away),
        (psycopg.errors.DiskFull, 507, Refusal),
        (psycopg.errors.InsufficientPrivilege, 503, Refusal),
    ],
)
def test_other_failures_are_told_at_once(error: type[psycopg.Error], status: int, kind: type[Refusal]) -> None:
    served = Served(error, 1)
    with pytest.raises(Refusal) as refusal:
        served.client.post("/v1/jobs", {})
    assert len(served.seen) == 1
    assert refusal.value.status == status
    assert type(refusal.value) is kind
    assert refusal.value.remedy


class Absent:
    """Answers as a farm whose database is away, and then as one whose database is back."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.keys: list[str | None] = []

    def send(self, _method: str, _path: str, _body: object, headers: Any) -> Answer:
        self.keys.append(headers.get("Idempotency-Key"))
        away = len(self.keys) <= self.times
        said = {"error": {"what": "away", "where": "db", "remedy": "wait"}} if away else {"id": 3}
        return Answer(503 if away else 200, {"retry-after": "1"} if away else {}, io.BytesIO(json.dumps(said).encode()))

    def close(self) -> None:
        """Nothing to close."""


def test_who_follows_asks_again_and_who_submits_does_so_under_one_key() -> None:
    transport = Absent(2)
    client = Client(transport, "token")
    with pytest.raises(Away):
        client.get("/v1/jobs")
    assert client.submit("/v1/jobs", {}) == {"id": 3}
    assert len(transport.keys) == 3
    assert transport.keys[1] == transport.keys[2] is not None
    told: list[str] = []
    client = Client(Absent(1), "token")
    client.bear(Patience(30, told.append))
    assert client.get("/v1/jobs/3") == {"id": 3}
    assert told[-1] == "the farm answers again"
