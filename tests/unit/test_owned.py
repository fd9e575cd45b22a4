"""The calls of owned machines: a ticket is exchanged once, and each token speaks for its own machine."""

import json
import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest

from executors.contract import NOBODY, Answer, Heard, Standby
from farm import fleet
from farm.auth import Kind, create_token, revoke
from farm.breaker import open_breaker
from farm.clock import SystemClock
from tests.fuzz.served_farm import ServedFarm

GO_ON = {"invitation": "", "end": "", "note": ""}
SETTINGS = '[pools.desks]\nprovider = "static"\nslots = 4\n[pools.local]\nprovider = "local"\n'


class Provider:
    """Says what we want, and keeps what it was told."""

    def __init__(self) -> None:
        self.heard: list[Standby] = []
        self.next = Heard()
        self.reply = Answer()

    def heed(self, said: Standby, /) -> Heard:
        self.heard.append(said)
        return self.next

    def answer(self, said: Standby, wait, /) -> Answer:
        return self.reply


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def served(tmp_path, provider):
    with ServedFarm(tmp_path / "home", SETTINGS) as farm:
        farm.farm.feed.close()
        around = SimpleNamespace(inner=provider)
        farm.farm.wheel = SimpleNamespace(providers={"desks": around, "local": SimpleNamespace(inner=object())})
        yield farm


def ticket(served: ServedFarm, pool: str = "desks", kind: Kind = Kind.JOIN) -> str:
    with served.farm.db.write() as tx:
        return create_token(tx, kind, SystemClock().now(), pool=pool, executor="ws-1" if kind == Kind.STANDBY else "")[
            1
        ]


def call(served: ServedFarm, path: str, secret: str, **body) -> tuple[int, dict]:
    status, said = served.call("POST", f"/v1/pools/{path}", json.dumps(body).encode(), Authorization=f"Bearer {secret}")
    return status, json.loads(said)


def enter(served: ServedFarm, secret: str, nonce: str = "n", pool: str = "desks") -> tuple[int, dict]:
    return call(served, f"{pool}/standby/ticket", secret, host="ws 3", nonce=nonce, python="3.11")


def test_a_ticket_becomes_a_token_once(served, provider):
    secret = ticket(served)
    status, made = enter(served, secret)
    assert (status, made["machine"][:5]) == (200, "ws-3-")
    status, again = enter(served, secret)  # the answer was lost
    assert (status, again["machine"]) == (200, made["machine"])
    status, said = enter(served, secret, nonce="of a thief")
    assert (status, said["error"]["what"]) == (403, "this ticket was used before, by ws 3")
    assert call(served, "desks/standby", made["token"], slots=4, free=True) == (200, GO_ON)
    assert provider.heard == [Standby(made["machine"], 4, True)]


@pytest.mark.parametrize("bad", ["expired", "revoked"])
def test_a_ticket_that_is_good_no_more_is_refused_and_counted_without_it(served, caplog, bad):
    long_ago = SystemClock().now() - timedelta(days=2)
    with served.farm.db.write() as tx:
        ends = long_ago + timedelta(days=1) if bad == "expired" else None
        number, secret = create_token(tx, Kind.JOIN, long_ago, pool="desks", expires=ends)
        if bad == "revoked":
            revoke(tx, number, long_ago)
    with caplog.at_level(logging.WARNING):
        status, said = enter(served, secret)
    assert (status, said["error"]["what"]) == (401, f"this token is {bad}")
    told = served.farm.refusals.told()
    assert (told["refused"], told["last"][0]["token"]) == (1, number)
    assert number in caplog.text
    assert secret.split("_", 2)[2] not in caplog.text + str(told) + str(said)


def test_a_token_is_for_its_own_pool_and_nothing_else(served):
    assert (
        enter(served, ticket(served, "local"))[1]["error"]["what"] == "this token is for pool 'local', not for 'desks'"
    )
    assert enter(served, ticket(served, "local"), pool="local")[0] == 409
    assert enter(served, ticket(served, "attic"), pool="attic")[0] == 404
    assert call(served, "desks/standby", ticket(served), slots=1, free=True)[0] == 403
    own = ticket(served, kind=Kind.STANDBY)
    assert enter(served, own)[0] == 403
    assert served.call("GET", "/v1/jobs", Authorization=f"Bearer {own}")[0] == 403


@pytest.mark.parametrize(
    "body", [{}, {"slots": 0, "free": True}, {"slots": 1, "free": "yes"}, {"slots": 1, "free": True, "wait_s": 9999}]
)
def test_what_makes_no_sense_is_refused(served, provider, body):
    assert call(served, "desks/standby", ticket(served, kind=Kind.STANDBY), **body)[0] == 400
    assert provider.heard == []


def test_an_answer_is_passed_on(served, provider):
    provider.reply = Answer(end="a-1")
    own = ticket(served, kind=Kind.STANDBY)
    assert call(served, "desks/standby", own, slots=4, free=True) == (200, GO_ON | {"end": "a-1"})


def test_a_machine_with_fewer_slots_than_its_pools_executors_is_told(served):
    _, said = call(served, "desks/standby", ticket(served, kind=Kind.STANDBY), slots=3, free=True)
    assert said["note"] == "executors of pool desks have 4 slots, this machine has 3: larger tasks go elsewhere"


@pytest.mark.parametrize(("error", "stays"), [(f"{NOBODY}: none stands by", False), ("the setup failed", True)])
def test_who_comes_opens_a_pool_that_was_shut_for_want_of_machines(served, provider, error, stays):
    with served.farm.db.write() as tx:
        open_breaker(tx, "desks", error, SystemClock().now())
    provider.next = Heard(freed=True)
    assert call(served, "desks/standby", ticket(served, kind=Kind.STANDBY), slots=1, free=True)[0] == 200
    with served.farm.db.read() as tx:
        assert bool(fleet.pool_fact(tx, "desks").breaker_until) == stays
