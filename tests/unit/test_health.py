"""Whether the service is well, asked by who has no token."""

import json
import threading
from contextlib import ExitStack, contextmanager

from farm import api
from farm.refusal import Unavailable
from tests.fuzz.served_farm import ServedFarm


def test_a_farm_that_answers_is_well(tmp_path):
    with ServedFarm(tmp_path) as served:
        status, said = served.call("GET", "/v1/health", Authorization="")
        assert (status, json.loads(said)) == (200, {"well": True})


def test_a_farm_with_no_connection_left_is_well(tmp_path):
    """Whoever stands by would take it for frozen."""
    with ServedFarm(tmp_path) as served, ExitStack() as taken:
        for _ in range(60):
            taken.enter_context(served.farm.db.engine.connect())
        status, said = served.call("GET", "/v1/health", Authorization="")
        assert (status, json.loads(said)) == (200, {"well": True})


def test_one_whose_threads_all_wait_is_well(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "THREADS", 1)
    entered, released = threading.Event(), threading.Event()

    @contextmanager
    def stuck():
        entered.set()
        released.wait(60)
        raise Unavailable("too late")
        yield

    with ServedFarm(tmp_path) as served:
        monkeypatch.setattr(served.farm.db, "read", stuck)
        asked = threading.Thread(target=served.call, args=("GET", "/v1/jobs"))
        asked.start()
        assert entered.wait(60)
        status, _ = served.call("GET", "/v1/health", Authorization="")
        assert status == 200
        released.set()
        asked.join(60)


def test_one_whose_database_does_not_answer_says_so_soon(tmp_path, monkeypatch):
    released = threading.Event()

    @contextmanager
    def stuck():
        released.wait(60)
        raise Unavailable("too late")
        yield

    with ServedFarm(tmp_path) as served:
        monkeypatch.setattr(served.farm.db.beside, "read", stuck)
        for _ in range(3):
            status, said = served.call("GET", "/v1/health", Authorization="")
            assert (status, json.loads(said)["error"]["what"]) == (503, "the database does not answer")
        assert [thread.name for thread in threading.enumerate()].count("health") == 1
        released.set()


def test_a_farm_without_its_database_is_not(tmp_path):
    with ServedFarm(tmp_path) as served:
        served.farm.db.close()
        served.farm.home.database.write_bytes(b"no database")
        status, _ = served.call("GET", "/v1/health")
        assert status == 503
