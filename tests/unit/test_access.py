"""Who may call what: every call has its scope, and every kind of token gets exactly the calls that are its own."""

import http.client
import json

import pytest

from farm.api import app
from farm.api.access import NEEDS
from farm.auth import Kind, Scope, create_token
from tests.fuzz.served_farm import ServedFarm

PUBLIC = {op for op, scope in NEEDS.items() if scope == Scope.PUBLIC}
MAY = {
    Scope.READ: {Scope.READ, Scope.FETCH},
    Scope.SUBMIT: {Scope.READ, Scope.FETCH, Scope.SUBMIT, Scope.STORE},
    Scope.OWN: {Scope.READ, Scope.FETCH, Scope.OWN},
    Scope.OPERATE: {Scope.READ, Scope.FETCH, Scope.OWN, Scope.OPERATE},
    Scope.ADMIN: {Scope.READ, Scope.FETCH, Scope.SUBMIT, Scope.STORE, Scope.OWN, Scope.OPERATE, Scope.ADMIN},
    Kind.MACHINE: {Scope.FETCH, Scope.STORE, Scope.SYNC},
    Kind.JOIN: {Scope.JOIN},
    Kind.STANDBY: {Scope.STANDBY},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    pools = '[pools.local]\n[pools.desks]\nprovider = "static"\n'
    with ServedFarm(tmp_path_factory.mktemp("farm"), pools) as farm:
        farm.farm.feed.close()  # nobody waits for what won't happen
        yield farm


def routes(served):
    for route in app(served.farm).routes:
        yield from _calls(route)


def _calls(route):
    """The framework keeps what was included as a router of its own."""
    if hasattr(route, "path") and getattr(route, "methods", None):
        for method in route.methods:
            yield f"{method.lower()} {route.path}"
    else:
        for inner in route.effective_candidates():
            yield from _calls(inner)


def token(served, holder, **about):
    kind, scopes = (holder, ()) if isinstance(holder, Kind) else (Kind.PERSON, about.pop("scopes", (holder,)))
    with served.farm.db.write() as tx:
        return create_token(tx, kind, served.farm.clock.now(), scopes=scopes, **about)


def ask(served, operation, secret, body=b"", **names):
    method, path = operation.split()
    names = {"job": 1, "ref": "1", "name": "local", "digest": served.digest, "site": "e-1", "pool": "local", **names}
    status, said = served.call(method.upper(), path.format_map(Any(names)), body, Authorization=f"Bearer {secret}")
    return status, json.loads(said)["error"] if said.startswith(b'{"error"') else {}


class Any(dict):
    def __missing__(self, name):
        return "x"


def test_every_call_has_its_scope(served):
    missing = {call for call in routes(served) if call not in NEEDS}
    assert not missing, "say in farm/api/access.py what these calls need (until then only administrators may)"
    assert len(set(routes(served))) > 25


@pytest.mark.parametrize("holder", list(MAY), ids=str)
def test_each_token_gets_its_own_calls_and_no_other(served, holder):
    _, secret = token(served, holder, owner="ada", executor="e-1", pool="local")
    for operation in set(routes(served)) - {"post /v1/down"}:  # below: it would end the farm
        needed = NEEDS[operation]
        status, said = ask(served, operation, secret, b"{}")
        refused = status == 403 and "has not the scope" in said.get("what", "has not the scope")
        assert refused == (needed not in MAY[holder] and operation not in PUBLIC), (operation, status, said)
        assert status != 401


@pytest.mark.parametrize("holder", [h for h in MAY if h != Scope.ADMIN], ids=str)
def test_only_administrators_end_the_farm(served, holder):
    _, secret = token(served, holder, owner="ada")
    status, said = ask(served, "post /v1/down", secret, b"{}")
    assert status == 403
    assert "admin" in said["what"]
    assert "--scope admin" in said["remedy"]


def test_a_call_that_stands_in_no_line_is_for_administrators(served, monkeypatch):
    monkeypatch.delitem(NEEDS, "get /v1/status")
    assert ask(served, "get /v1/status", token(served, Scope.OPERATE)[1])[0] == 403
    assert ask(served, "get /v1/status", token(served, Scope.ADMIN)[1])[0] == 200


def test_the_owner_is_who_is_authenticated(served):
    _, secret = token(served, Scope.SUBMIT, owner="grace")
    job = {"name": "n", "owner": "ada", "steps": [{"argv": ["true"]}]}
    for given, owner in ((secret, "grace"), (served.farm.home.token(), "ada")):
        status, said = served.call("POST", "/v1/jobs", json.dumps(job).encode(), Authorization=f"Bearer {given}")
        assert status == 201
        _, found = served.call("GET", f"/v1/jobs/{json.loads(said)['id']}")
        assert json.loads(found)["owner"] == owner


def test_the_owner_of_many_jobs_is_who_is_authenticated(served):
    _, secret = token(served, Scope.SUBMIT, owner="grace")
    many = {"job": {"name": "n", "owner": "ada", "steps": [{"argv": ["true"]}]}, "commands": [["a"], ["b"]]}
    body, given = json.dumps(many).encode(), f"Bearer {secret}"
    status, said = served.call("POST", "/v1/jobs/many", body, Authorization=given)
    assert status == 201
    ((first, last),) = json.loads(said)["ids"]
    assert last == first + 1
    for job in (first, last):
        assert json.loads(served.call("GET", f"/v1/jobs/{job}")[1])["owner"] == "grace"


def test_who_may_submit_publishes_no_package_under_a_name_of_his_own(served):
    _, secret = token(served, Scope.SUBMIT, owner="ada")
    body = json.dumps({"name": "n", "owner": "ada", "kind": "packages", "steps": [{"argv": ["true"]}]}).encode()
    assert ask(served, "post /v1/jobs", secret, body)[0] == 403
    assert ask(served, "post /v1/jobs", served.farm.home.token(), body)[0] == 201


@pytest.mark.parametrize("act", ["cancel", "retry"])
def test_own_is_for_ones_own_jobs(served, act):
    job = served.submit(owner="grace", steps=[{"argv": ["true"]}])
    operation = f"post /v1/jobs/{{ref}}/{act}"
    status, said = ask(served, operation, token(served, Scope.OWN, owner="ada")[1], ref=job)
    assert status == 403
    assert said["what"] == f"job {job} belongs to grace, and you are ada"
    assert ask(served, operation, token(served, Scope.OWN, owner="grace")[1], ref=job)[0] in (200, 409)
    assert ask(served, operation, token(served, Scope.OPERATE, owner="ada")[1], ref=job)[0] in (200, 409)


def test_a_machine_speaks_for_itself_alone(served):
    _, secret = token(served, Kind.MACHINE, executor="e-1", pool="local")
    for site in ("local", "e-2", ""):
        assert ask(served, "post /v1/sites/{site}/sync", secret, site=site)[0] in (403, 404)
    status, said = ask(served, "post /v1/sites/{site}/sync", secret, site="e-2")
    assert status == 403
    assert "'e-2'" in said["what"]


@pytest.mark.parametrize("bad", ["revoked", "expired"])
def test_a_token_that_is_no_longer_good_says_so(served, bad):
    now = served.farm.clock.now()
    number, secret = token(served, Scope.READ, expires=now if bad == "expired" else None)
    if bad == "revoked":
        with served.farm.db.write() as tx:
            from farm.auth import revoke

            revoke(tx, number, now)
    status, said = ask(served, "get /v1/status", secret)
    assert (status, said["what"]) == (401, f"this token is {bad}")
    assert "farm token create" in said["remedy"]


def test_the_homes_own_token_is_good_on_its_machine_only(served):
    near = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    with_proxy = {**served.headers, "X-Forwarded-For": "192.0.2.7"}  # a proxy here tells who asks from afar
    for headers, status in ((served.headers, 200), (with_proxy, 403)):
        near.request("GET", "/v1/status", headers=headers)
        answer = near.getresponse()
        answer.read()
        assert answer.status == status
    near.close()


def test_secrets_of_the_service_are_read_for_those_elsewhere_only_where_they_were_put_for_it(served):
    folder = served.farm.home.path / "secrets"
    folder.mkdir(exist_ok=True)
    (folder / "link").unlink(missing_ok=True)
    (folder / "link").symlink_to(served.farm.home.token_file)
    _, secret = token(served, Scope.SUBMIT, scopes=(Scope.SUBMIT, Scope.OPERATE), owner="ada")
    _, admin = token(served, Scope.ADMIN)
    statuses = {}
    for reference in (
        f"file:{served.farm.home.token_file}",
        f"file:{folder}/../token",
        f"file:{folder}/link",
        f"file:{folder}",
        "env:HOME",
        f"file:{folder}/key",
    ):
        step = {"argv": ["true"], "secrets": {"KEY": reference}}
        body = json.dumps({"name": "n", "owner": "ada", "steps": [step]}).encode()
        statuses[reference] = ask(served, "post /v1/jobs", secret, body)[0]
        assert ask(served, "post /v1/jobs", served.farm.home.token(), body)[0] == 201
        assert ask(served, "post /v1/jobs", admin, body)[0] == 201
    assert list(statuses.values()) == [403, 403, 403, 403, 403, 201]


def tell(served, secret, method, path, body=None):
    status, said = served.call(method, path, json.dumps(body).encode(), Authorization=f"Bearer {secret}")
    return status, json.loads(said)


def test_tokens_are_made_listed_and_revoked(served):
    admin = served.farm.home.token()
    status, made = tell(served, admin, "POST", "/v1/tokens", {"owner": "lin", "name": "laptop", "expires_s": 3600})
    assert status == 201
    assert (made["owner"], made["scopes"], made["state"]) == ("lin", ["submit", "own"], "good")
    assert tell(served, made["secret"], "GET", "/v1/status")[0] == 200
    _, listed = tell(served, admin, "GET", "/v1/tokens")
    (one,) = [one for one in listed["tokens"] if one["id"] == made["id"]]
    assert one["used"] is not None
    assert made["secret"] not in str(listed)
    assert tell(served, admin, "POST", f"/v1/tokens/{made['id']}/revoke")[1]["state"] == "revoked"
    assert tell(served, made["secret"], "GET", "/v1/status")[1]["error"]["what"] == "this token is revoked"
    assert tell(served, admin, "POST", f"/v1/tokens/{made['id']}/revoke")[0] == 404
    assert made["id"] not in str(tell(served, admin, "GET", "/v1/tokens")[1])
    assert made["id"] in str(tell(served, admin, "GET", "/v1/tokens?all=true")[1])


def test_a_ticket_to_join_is_for_a_pool_and_for_a_day(served):
    admin = served.farm.home.token()
    _, made = tell(served, admin, "POST", "/v1/tokens", {"join": "desks"})
    assert (made["kind"], made["pool"], made["scopes"]) == ("join", "desks", [])
    assert made["expires"] is not None
    who = served.farm.tokens.principal(made["secret"])
    assert who.pool == "desks"


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        ({}, "--owner"),
        ({"owner": " "}, "--owner"),
        ({"owner": "a\nb"}, "--owner"),
        ({"owner": "ada", "scopes": ["everything"]}, "--scope"),
        ({"owner": "ada", "scopes": ["sync"]}, "--scope"),
        ({"join": "moon"}, "--join"),
        ({"join": "desks", "scopes": ["read"]}, "--scope"),
        ({"join": "local"}, "--join"),
        ({"owner": "ada", "name": "a\x1b[2J"}, "--name"),
        ({"owner": "ada", "expires_s": 0}, "expires_s"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(served, wanted, where):
    status, said = tell(served, served.farm.home.token(), "POST", "/v1/tokens", wanted)
    assert status == 400
    assert said["error"]["where"] == where
    assert said["error"]["remedy"]
