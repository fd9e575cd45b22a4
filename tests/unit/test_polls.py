"""Long polls: those who leave take everything with them."""

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from anyio._backends._asyncio import WorkerThread

from executors.contract import Answer as Told
from executors.contract import Heard, Standby
from executors.site.protocol import Answer, Report, encode_report
from farm import api
from farm.api import polls
from farm.auth import Kind, create_token
from tests.contract.yard import eventually
from tests.fuzz.served_farm import ServedFarm

MANY = 100


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setattr(WorkerThread, "MAX_IDLE_TIME", 0)
    with ServedFarm(tmp_path) as farm:
        yield farm


def ask(served, path):
    sock = served.connect()
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {served.headers['Authorization']}\r\n\r\n".encode())
    return sock


def sockets() -> int:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.lexists(link))


def quiet(served) -> int:
    """Threads that are left once the idle ones were let go, which happens at a call."""
    served.call("GET", "/v1/status")
    return threading.active_count()


@pytest.mark.parametrize("path", ["/v1/jobs/1/wait?timeout=30&seen=1000", "/v1/logs/1?wait=30"])
def test_clients_that_vanish_leave_nothing_behind(served, path):
    threads, before = quiet(served), sockets()
    clients = [ask(served, path) for _ in range(MANY)]
    eventually(lambda: threading.active_count() >= MANY)
    for client in clients:
        client.close()
    eventually(lambda: quiet(served) <= threads + 2, within=20)  # sooner than the polls would end by themselves
    eventually(lambda: sockets() <= before + 2)
    assert served.farm.db.engine.pool.checkedout() == 0


def test_those_who_wait_hold_up_nobody(served):
    clients = [ask(served, "/v1/logs/1?wait=30") for _ in range(300)]
    eventually(lambda: threading.active_count() >= 256)
    assert served.call("GET", "/v1/status")[0] == 200
    for client in clients:
        client.close()


def test_who_stays_is_told(served):
    with (
        ask(served, "/v1/jobs/1/wait?timeout=30&seen=1") as client,
        ask(served, "/v1/jobs/1/wait?timeout=30&seen=1") as other,
    ):
        eventually(lambda: served.farm.feed.waiters == 2)
        other.close()
        assert served.call("POST", "/v1/jobs/1/cancel")[0] == 200
        said = b""
        while b'"cancelled"' not in said:  # head and body may come one after the other
            more = client.recv(100_000)
            assert more, said
            said += more


def test_clients_that_left_count_as_waiting_for_a_moment_only(served):
    ask(served, "/v1/jobs/1/wait?timeout=30&seen=1000").close()
    eventually(lambda: served.farm.feed.waiters == 0, within=25)


class Patient:
    """Answers machines when it is told to."""

    def __init__(self) -> None:
        self.waiting, self.enough = threading.Semaphore(0), threading.Event()
        self.heard = 0

    def _wait(self) -> None:
        self.waiting.release()
        self.enough.wait(60)

    def sync(self, _report: Report, _site: str) -> Answer:
        self._wait()
        return Answer(1)

    def heed(self, _said: Standby, /) -> Heard:
        self.heard += 1
        return Heard()

    def answer(self, _said: Standby, wait: timedelta, /) -> Told:
        if wait:
            self._wait()
        return Told()


@pytest.fixture
def narrow(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "THREADS", 4)
    with ServedFarm(tmp_path, '[pools.desks]\nprovider = "static"\n') as farm:
        yield farm


def sites(served, patient, monkeypatch):
    """What a gateway asks."""
    monkeypatch.setattr(served.farm.sites, "sync", patient.sync)
    return "/v1/sites/local/sync", encode_report(Report("s", wait_s=30)), served.headers


def standby(served, patient, _monkeypatch):
    """What a machine that stands by asks."""
    served.farm.feed.close()
    served.farm.wheel = SimpleNamespace(providers={"desks": patient})
    with served.farm.db.write() as tx:
        secret = create_token(tx, Kind.STANDBY, served.farm.clock.now(), pool="desks", executor="ws-1")[1]
    body = json.dumps({"slots": 1, "free": True, "wait_s": 30}).encode()
    return "/v1/pools/desks/standby", body, {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("kind", [sites, standby])
def test_machines_that_wait_hold_up_nobody(narrow, monkeypatch, kind):
    patient = Patient()
    path, body, who = kind(narrow, patient, monkeypatch)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(narrow.call, "POST", path, body, **who) for _ in range(8)]
        try:
            assert all(patient.waiting.acquire(timeout=20) for _ in asked)
            assert narrow.call("GET", "/v1/status")[0] == 200
        finally:
            patient.enough.set()
        assert [one.result()[0] for one in asked] == [200] * 8


def raw(served, path, body, who) -> str:
    """The whole answer, with its head."""
    told = {"Host": "x", "Connection": "close", "Content-Type": "application/json", "Content-Length": len(body), **who}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with served.connect() as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


@pytest.mark.parametrize("kind", [sites, standby])
def test_one_more_than_there_is_room_for_is_told_when_to_come_again(narrow, monkeypatch, kind):
    """And it was heard: a machine that stands by does so without a place to wait in."""
    monkeypatch.setattr(polls, "MACHINES", 2)
    patient = Patient()
    path, body, who = kind(narrow, patient, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(narrow.call, "POST", path, body, **who) for _ in range(2)]
        try:
            assert all(patient.waiting.acquire(timeout=20) for _ in asked)
            said = raw(narrow, path, body, who)
        finally:
            patient.enough.set()
    assert said.startswith("HTTP/1.1 503 ")
    assert "\r\nretry-after: 5\r\n" in said
    assert "2 machines wait here already" in said
    assert patient.heard == (3 if kind is standby else 0)


def test_machines_that_come_in_one_moment_find_no_more_places_than_there_are(monkeypatch):
    monkeypatch.setattr(polls, "MACHINES", 2)
    enough = threading.Event()

    async def crowd():
        asked = [asyncio.ensure_future(polls.held(lambda: enough.wait(60))) for _ in range(5)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
        enough.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [type(one) for one in found], await polls.held(lambda: "room")

    assert asyncio.run(crowd()) == ([bool, bool, *[polls.Crowded] * 3], "room")
