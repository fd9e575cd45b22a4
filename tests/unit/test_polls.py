"""Long polls: those who leave take everything with them."""

import os
import threading

import pytest
from anyio._backends._asyncio import WorkerThread

from tests.contract.yard import eventually
from tests.fuzz.served_farm import ServedFarm

MANY = 200


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
        assert b'"cancelled"' in client.recv(100_000)


def test_clients_that_left_count_as_waiting_for_a_moment_only(served):
    ask(served, "/v1/jobs/1/wait?timeout=30&seen=1000").close()
    eventually(lambda: served.farm.feed.waiters == 0, within=25)
