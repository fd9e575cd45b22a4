"""Who may hold, set, drain and stop what, and that the document of the API tells these answers as they are."""

import json

import pytest

from farm.api import app, shapes
from farm.auth import Kind, Scope, create_token
from tests.fuzz.served_farm import ServedFarm


@pytest.fixture
def served(tmp_path):
    with ServedFarm(tmp_path, '[pools.paid]\nprice_per_hour = "1"\n') as farm:
        yield farm


@pytest.fixture
def post(served):
    """Call as the owner of a token with that scope."""

    def call(owner, scope, path, **body):
        with served.farm.db.write() as tx:
            _, secret = create_token(tx, Kind.PERSON, served.farm.clock.now(), scopes=(scope,), owner=owner)
        bearer = {"Authorization": f"Bearer {secret}"}
        status, said = served.call("POST", path, json.dumps(body).encode(), **bearer)
        return status, json.loads(said)

    return call


def test_everybody_holds_his_own_jobs_and_operators_all(served, post):
    assert post("bob", Scope.OWN, "/v1/hold", what="2")[0] == 403
    assert post("bob", Scope.READ, "/v1/hold", what="2")[0] == 403
    assert post("ada", Scope.OWN, "/v1/hold", what="2", why="wait")[0] == 200
    assert post("bob", Scope.OWN, "/v1/release", what="2")[0] == 403
    assert post("bob", Scope.OWN, "/v1/jobs/2/set", priority=5)[0] == 403
    assert post("bob", Scope.OPERATE, "/v1/jobs/2/set", priority=5)[0] == 200
    assert post("bob", Scope.OPERATE, "/v1/release", what="2")[0] == 200
    found = json.loads(served.call("GET", "/v1/acts?about=2")[1])["acts"]
    assert [(act["who"], act["verb"], act["why"]) for act in found] == [
        ("bob", "release", ""),
        ("bob", "set", ""),
        ("ada", "hold", "wait"),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/hold", {"what": "lane:bulk"}),
        ("/v1/hold", {"what": "pool:paid"}),
        ("/v1/spending", {"stopped": True}),
    ],
)
def test_lanes_pools_and_spending_are_for_operators(served, post, path, body):
    assert post("ada", Scope.OWN, path, **body)[0] == 403
    assert json.loads(served.call("GET", "/v1/acts")[1]) == {"held": [], "acts": []}
    assert post("ada", Scope.OPERATE, path, **body)[0] == 200
    assert len(json.loads(served.call("GET", "/v1/acts")[1])["held"]) == 1


def test_executors_are_drained_by_operators(post):
    assert post("ada", Scope.OWN, "/v1/executors/e1/drain")[0] == 403
    assert post("ada", Scope.OPERATE, "/v1/executors/e1/drain")[0] == 404


@pytest.mark.parametrize(
    "when", ["soon", "2026-01-01T00:00:00", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"]
)
def test_what_is_no_deadline_is_refused(post, when):
    assert post("ada", Scope.OWN, "/v1/jobs/2/set", deadline=when)[0] == 400


def test_the_document_knows_each_shape_by_its_own_name(served):
    """A body and an answer of the same name would be one for the reader."""
    told = app(served.farm).openapi()["components"]["schemas"]
    own = {n: c for n, c in vars(shapes).items() if isinstance(c, type) and c.__module__ == shapes.__name__}
    for name, shape in own.items():
        if name in told:
            assert set(told[name].get("properties", {})) == set(shape.model_fields), name
