"""Who sends its body a byte at a time holds a connection for a while, not for days."""

import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from farm import service
from farm.api import bodies, wire
from farm.auth import Scope
from tests.unit.tls_farm import TlsFarm

WAIT_S = 60


@pytest.fixture
def farm(tmp_path) -> Iterator[TlsFarm]:
    with TlsFarm(tmp_path) as made:
        yield made


def begun(farm: TlsFarm, path: str, more: str = "") -> ssl.SSLSocket:
    """A call whose body has begun to come."""
    context = ssl.create_default_context(cadata=farm.listener.ca())
    safe = context.wrap_socket(socket.create_connection(("127.0.0.1", farm.listener.port)), server_hostname="localhost")
    safe.settimeout(WAIT_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n{more}\r\n{{"
    safe.sendall(head.encode())
    return safe


def trickled(sock: ssl.SSLSocket) -> bytes:
    """All that is said until the farm ends the connection, while a blank is sent every 0.2 s, for a minute at most."""
    found = b""
    sock.settimeout(0.2)
    for _ in range(WAIT_S * 5):
        try:
            if not (part := sock.recv(65536)):
                return found
            found += part
        except TimeoutError:
            with suppress(OSError):  # the next look at it tells
                sock.sendall(b" ")
        except OSError:
            return found
    pytest.fail("it is heard for ever")


@pytest.mark.parametrize("path", ["/v1/join", "/v1/join/failed"])
def test_a_body_of_a_call_without_a_token_comes_soon_or_never(farm, monkeypatch, path):
    monkeypatch.setattr(bodies, "UNKNOWN_S", 2.0)
    with begun(farm, path) as sock:
        said = trickled(sock)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"within 2 s" in said


def test_a_stranger_who_was_answered_cannot_go_on_for_ever(farm, monkeypatch):
    monkeypatch.setattr(wire, "PATIENCE_S", 2.0)
    with begun(farm, "/v1/jobs") as sock:
        assert trickled(sock).startswith(b"HTTP/1.1 401 ")


def test_whoever_is_known_sends_at_his_own_pace(farm, monkeypatch):
    monkeypatch.setattr(bodies, "UNKNOWN_S", 0.1)
    _, secret = farm.token(Scope.SUBMIT)
    with begun(farm, "/v1/jobs", f"Authorization: Bearer {secret}\r\n") as sock:
        threading.Event().wait(0.5)
        sock.sendall(b" " * 59_999)
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_the_service_may_open_as_many_files_as_the_machine_allows():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 1024), before[1]))
        service._more_files()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (soft, hard) == (max(min(before[0], 1024), min(hard, service.FILES)), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
