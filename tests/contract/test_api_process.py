"""Processes that serve the API beside the one that leads: each answers as the leader does, and none is missed."""

import json
import os
import re
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from farm.api.access import NEEDS
from farm.api.forwarding import ASKED
from farm.client import Client
from farm.refusal import Refusal
from tests.contract.beside import PATIENCE_S, Beside, beside, ended, job
from tests.journeys.relay import until
from tests.journeys.shell import Shell
from tests.postgres import Postgres

HELD = "bulk"  # a lane
STILL = ("jobs", "tasks", "logs", "acts", "store", "ca", "executor.pyz", "health", "openapi.json")
"""Begins of paths where the answer is the same a moment later; of the others the keys are compared."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def farm(request: pytest.FixtureRequest) -> Iterator[Beside]:
    url = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.fresh())
    with beside(url) as made:
        made.shell("hold", f"lane:{HELD}")
        yield made


@pytest.fixture
def other(farm: Beside) -> Iterator[Client]:
    """One that does not lead."""
    farm.shell("up")
    if not farm.others():
        farm.serve()
    with farm.client(farm.others()[0]) as client:
        yield client


def submit(client: Client, *argv: str, **more: Any) -> int:
    return int(client.submit("/v1/jobs", job("job", *argv, **more))["id"])


def test_all_questions_are_answered_as_by_the_leader(farm: Beside, other: Client) -> None:
    number = submit(other, "sh", "-c", "echo hello; exit 3")
    assert ended(other, number)["state"] == "failed"
    many = job("many", "true", array={"first": 1, "last": 50, "step": 1})
    other.submit("/v1/jobs", {**many, "lane": HELD})
    secret = other.post("/v1/tokens", {"owner": "bea", "name": "hers"})["secret"]
    assert secret.startswith("farm_")
    executor = next(iter(other.get("/v1/executors", all=True)["executors"]))["id"]
    holes = {"job": number, "ref": f"{number}.1", "name": executor, "digest": "0" * 64, "pool": "local"}
    beside_it = farm.socket(farm.others()[0])
    for call in (one for one in NEEDS if one.startswith("get ")):
        path = re.sub(r"{(\w+)}", lambda hole: str(holes[hole[1]]), call.partition(" ")[2])
        if call == "get /v1/why/pool/{name}":
            path = "/v1/why/pool/local"
        mine, theirs = farm.ask(beside_it, "GET", path), farm.ask(farm.home.socket, "GET", path)
        assert mine[0] == theirs[0], call
        kept = ("content-type", "farm-api", "farm-final", "farm-offset")
        assert [mine[1].get(name) for name in kept] == [theirs[1].get(name) for name in kept], call
        if path.removeprefix("/v1").removeprefix("/").startswith(STILL):
            assert mine[2] == theirs[2], call
        else:
            assert json.loads(mine[2]).keys() == json.loads(theirs[2]).keys(), call


def test_what_is_not_asked_of_the_leader_is_known() -> None:
    own = {call for call in NEEDS if call not in ASKED}
    assert not set(ASKED) - set(NEEDS)
    assert not {call for call in own if call.startswith("post ") and "/store/" not in call}, "who answers these?"


def test_what_is_submitted_there_begins_at_once_and_its_end_is_heard(farm: Beside, other: Client) -> None:
    ended(other, submit(other, "true"))  # from now on an executor is there
    waits = []
    for _ in range(9):
        number = submit(other, "true")
        began = time.monotonic()
        assert ended(other, number)["state"] == "done"
        assert time.monotonic() - began < 20  # a poll that nobody wakes takes 30 s
        attempt = other.get(f"/v1/tasks/{number}.1")["attempts"][0]
        submitted = datetime.fromisoformat(other.get(f"/v1/jobs/{number}")["submitted"])
        waits.append((datetime.fromisoformat(attempt["claimed"]) - submitted).total_seconds())
    assert statistics.median(waits) < 1.5, waits  # by the wheel's own turn it would be 2.5 s


def test_a_log_is_followed_while_it_is_written_and_cancel_ends_what_runs(other: Client, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f"trap 'touch {gone}; exit' TERM; echo hello; while :; do sleep 0.1; done"
    number = submit(other, "sh", "-c", script)
    ref, part = f"{number}.1", other.log(f"{number}.1")
    for _ in range(5):
        part = part if part.data else other.log(ref, 0, 20)
    assert (part.data, part.final) == (b"hello\n", False)
    assert other.post(f"/v1/jobs/{number}/cancel") == {"changed": 1}
    until(gone.exists, "it is told to end")
    assert other.get(f"/v1/jobs/{number}")["state"] == "cancelled"
    assert other.log(ref).final


def test_one_that_is_killed_in_the_middle_of_a_hundred_submits_loses_and_doubles_nothing(farm: Beside) -> None:
    farm.serve()
    victims = farm.others()[:2]
    acknowledged, reached = [], threading.Event()

    def send() -> None:
        for number in range(100):
            body, key = {**job(f"n{number}", "true"), "lane": HELD}, f"key-{number}"
            while True:
                living = farm.others()
                try:
                    status, _, answer = farm.ask(farm.socket(living[0]), "POST", "/v1/jobs", body, key)
                except (OSError, IndexError, StopIteration):
                    continue  # the same once more, by whoever is there
                assert status == 201, answer
                acknowledged.append((json.loads(answer)["id"], f"n{number}"))
                break
            if number == 30:
                reached.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert reached.wait(PATIENCE_S)
    os.kill(victims[0].pid, signal.SIGKILL)
    sender.join(PATIENCE_S)
    assert not sender.is_alive()
    assert not victims[0].alive()
    with farm.leading() as client:
        there = [(one["id"], one["name"]) for one in client.get("/v1/jobs", limit=1000)["jobs"]]
    assert Counter(name for _, name in there if name.startswith("n")) == {f"n{n}": 1 for n in range(100)}
    assert set(acknowledged) <= set(there)


def test_one_that_is_frozen_holds_up_nobody(farm: Beside) -> None:
    farm.serve()
    frozen, *rest = farm.others()
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        with farm.leading() as leader, farm.client(rest[0]) as other:
            for client in (leader, other):
                assert ended(client, submit(client, "true"))["state"] == "done"
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    with farm.client(frozen) as client:
        assert ended(client, submit(client, "true"))["state"] == "done"


def test_without_a_leader_it_takes_jobs_and_says_what_only_a_leader_can_do(farm: Beside, other: Client) -> None:
    farm.kill_leader()
    until(lambda: not other.get("/v1/status")["running"], "it is noticed")
    number, unwanted = submit(other, "true"), submit(other, "true")
    assert other.post(f"/v1/jobs/{unwanted}/cancel") == {"changed": 1}
    assert other.get(f"/v1/jobs/{number}")["state"] == "queued"
    with pytest.raises(Refusal, match="no process leads the farm just now") as caught:
        other.post("/v1/join", {"pool": "desks", "executor": "one-1", "secret": "none"})
    assert caught.value.status == 503
    assert "farm up" in caught.value.remedy
    farm.shell("up")
    assert ended(other, number)["state"] == "done"
    assert other.get("/v1/status")["leader"]["pid"] == farm.leader().pid


def test_they_are_named_as_a_role_and_go_with_the_farm(farm: Beside, other: Client) -> None:
    with farm.leading() as client:
        status = client.get("/v1/status")
    pids = {process.pid for process in farm.others()}
    assert pids <= {one["pid"] for one in status["apis"]}
    assert pids == {one["pid"] for one in status["processes"] if one["role"] == "api"} & pids
    assert other.get("/v1/status")["running"] is True
    going = farm.others()
    if alone := not farm.url:
        farm.kill_leader()
    assert farm.shell("down").startswith("the farm was down already" if alone else "the farm is down")
    assert all(process.wait(PATIENCE_S) for process in going)
    assert not list(farm.home.doors.glob("*")), "sockets are left"


def test_who_serves_does_not_stand_by(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home", tmp_path)
    shell("up", "--api", "--standby", status=2)
    assert "does not stand by" in shell.err
