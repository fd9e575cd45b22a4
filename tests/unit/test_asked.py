"""What comes under a key is carried out once, however often and by however many at once it is asked."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from farm import tables as t
from farm.asked import KEPT, once
from tests.fuzz.served_farm import ServedFarm

JOB = {"name": "job", "owner": "ada", "steps": [{"argv": ["true"]}]}


@pytest.fixture
def served(tmp_path):
    with ServedFarm(tmp_path) as farm:
        yield farm


def submit(served: ServedFarm, key: str = "k", **more) -> tuple[int, dict]:
    body = json.dumps({**JOB, **more}).encode()
    status, said = served.call("POST", "/v1/jobs", body, **({"Idempotency-Key": key} if key else {}))
    return status, json.loads(said)


def jobs(served: ServedFarm) -> int:
    with served.farm.db.read() as tx:
        return tx.execute(select(func.count()).select_from(t.Job)).scalar_one()


def test_the_same_key_is_the_same_job(served):
    before = jobs(served)
    first = submit(served)
    assert first[0] == 201
    assert submit(served) == first
    assert jobs(served) == before + 1
    assert submit(served, "another")[1] != first[1]
    assert submit(served, "")[1] != submit(served, "")[1]


def test_many_at_once_are_one(served):
    before = jobs(served)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: submit(served), range(32)))
    assert [answer for answer in answers if answer != answers[0]] == []
    assert jobs(served) == before + 1


def test_another_request_under_a_used_key_is_refused(served):
    submit(served)
    status, said = submit(served, name="other")
    assert status == 409
    assert "new key" in said["error"]["remedy"]


def test_a_refused_request_leaves_its_key_free(served):
    assert submit(served, steps=[{"argv": ["a\0b"]}])[0] == 400
    assert submit(served)[0] == 201


def test_keys_are_of_who_asks_and_are_forgotten(served):
    farm, made = served.farm, iter(range(100))

    def act(note):
        answer = {"id": next(made)}
        with farm.db.write() as tx:
            note(tx, answer)
        return answer

    assert [once(farm, who, "k", "r", act)["id"] for who in ("ada", "bob", "ada")] == [0, 1, 0]
    now = farm.clock.now()

    class Later:
        def now(self):
            return now + KEPT + timedelta(seconds=1)

    farm.clock = Later()
    assert once(farm, "eve", "k", "r", act)["id"] == 2
    assert once(farm, "ada", "k", "r", act)["id"] == 3


def test_one_that_another_process_carried_out_meanwhile_is_answered_as_there(served):
    farm = served.farm

    def act(note):
        once(farm, "other process", "x", "r", lambda n: kept(n, 1))
        with farm.db.write() as tx:  # under the same key, as if between our look and our writing
            tx.execute(t.Asked.__table__.insert(), {**row(), "at": farm.clock.now()})
        return kept(note, 2)

    def kept(note, number):
        with farm.db.write() as tx:
            note(tx, {"id": number})
        return {"id": number}

    def row():
        from farm.asked import _sha256

        return {"key": _sha256("ada\0k"), "request": _sha256("r"), "answer": {"id": 7}}

    assert once(farm, "ada", "k", "r", act) == {"id": 7}


def test_many_jobs_under_a_key_are_made_once(served):
    def ask(*commands: list[str]) -> tuple[int, dict]:
        body = json.dumps({"job": JOB, "commands": commands}).encode()
        status, said = served.call("POST", "/v1/jobs/many", body, **{"Idempotency-Key": "many"})
        return status, json.loads(said)

    before = jobs(served)
    status, said = ask(["a"], ["b"], ["c"])
    assert status == 201
    [[first, last]] = said["ids"]
    assert last == first + 2
    assert ask(["a"], ["b"], ["c"]) == (201, said)
    assert ask(["a"], ["b"])[0] == 409
    assert ask()[0] == 400
    assert jobs(served) == before + 3
