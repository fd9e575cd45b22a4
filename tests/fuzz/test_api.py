"""The whole API against its own document: nothing fails, and what comes back is what was promised."""

import os
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from farm.api import app
from farm.api.access import NEEDS
from farm.api.document import ANSWERS
from farm.auth import Scope
from tests.fuzz.served_farm import ServedFarm

EXAMPLES = {
    "job": [1, 2, 3, 4, 99],
    "ref": ["1", "1.1", "2", "2.100", "2.101", "3.2", "4.1", "1.1.1", "99", "1.0", "x"],
    "name": ["local", "nobody"],
}
SEED = int(os.environ.get("FARM_SEED", 0)) or int.from_bytes(os.urandom(4))
PHASES = [Phase.explicit, Phase.generate]
COUNT = int(os.environ.get("FARM_FUZZ_EXAMPLES", 12))

load_all_checks()
(UNPROMISED,) = CHECKS.get_by_names(["positive_data_acceptance"])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with ServedFarm(tmp_path_factory.mktemp("farm")) as farm:
        farm.farm.feed.close()  # nobody waits for what won't happen
        yield farm


@pytest.fixture(scope="module")
def document(served):
    made = app(served.farm).openapi()
    del made["security"]  # every call is made with the token; without it see below
    known = EXAMPLES | {"digest": [served.digest, "0" * 64, "../token"]}
    for operations in made["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if values := known.get(parameter["name"]):
                    parameter["examples"] = {str(v): {"value": v} for v in values}
    return schemathesis.openapi.from_dict(made)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("operation", sorted(ANSWERS))
def test_every_call_answers_as_documented(operation, mode, served, document):
    method, path = operation.split()
    known = document[path][method.upper()]

    @seed(SEED)
    @settings(max_examples=COUNT, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(case=known.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(
            base_url=f"http://127.0.0.1:{served.port}",
            headers=served.headers,
            excluded_checks=[UNPROMISED],  # what is well-formed may still be impossible: there may be no such lane
            timeout=60,
        )

    try:
        check()
    except Unsatisfiable:
        assert mode == GenerationMode.NEGATIVE, "nothing can be sent"  # where nothing is asked, nothing can be wrong


@pytest.mark.parametrize("operation", sorted(call for call in ANSWERS if NEEDS.get(call) != Scope.PUBLIC))
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic Og==", "Bearer \xe9"])
def test_without_the_token_nothing_is_told(operation, header, served):
    method, path = operation.split()
    path = re.sub(r"{(\w+)}", lambda hole: str({"digest": served.digest, "job": 1}.get(hole[1], "1.1")), path)
    status, said = served.call(method.upper(), path, b"", Authorization=header)
    assert status == 401
    assert method == "head" or said.startswith(b'{"error":{"what":"no token, or a wrong one"')


def test_the_document_tells_every_call(served):
    told = app(served.farm).openapi()["paths"]
    assert {f"{method} {path}" for path, operations in told.items() for method in operations} == set(ANSWERS)
