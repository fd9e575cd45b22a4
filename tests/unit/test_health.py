"""Whether the service is well, asked by who has no token."""

import json

from tests.fuzz.served_farm import ServedFarm


def test_a_farm_that_answers_is_well(tmp_path):
    with ServedFarm(tmp_path) as served:
        status, said = served.call("GET", "/v1/health", Authorization="")
        assert (status, json.loads(said)) == (200, {"well": True})


def test_a_farm_without_its_database_is_not(tmp_path):
    with ServedFarm(tmp_path) as served:
        served.farm.db.close()
        served.farm.home.database.write_bytes(b"no database")
        status, _ = served.call("GET", "/v1/health")
        assert status == 503
