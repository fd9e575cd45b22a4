"""The HTTP client, against a server of the standard library on a Unix socket."""

import hashlib
import io
import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from farm.client import Client, UnixTransport, Unreachable, connect
from farm.embedded import AsgiTransport
from farm.home import Home
from farm.patience import Patience
from farm.refusal import Refusal


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"

    def do_GET(self):
        self.server.seen.append((self.command, self.path, self.headers["Authorization"]))
        if self.path.startswith("/v1/logs/"):
            return self.answer(200, b"hello\n", {"Farm-Offset": "16", "Farm-Final": "true"})
        if self.path == "/v1/missing":
            error = {"what": "there is no job 9", "where": "/v1/missing", "remedy": "see `farm jobs`"}
            return self.answer(404, json.dumps({"error": error}).encode())
        if self.path == "/v1/broken" or (self.path == "/v1/broken-once" and len(self.server.seen) == 1):
            return self.answer(500, b"<html>")
        if self.path == "/v1/hang-up":
            self.close_connection = True
        return self.answer(200, json.dumps({"path": self.path}).encode())

    def do_HEAD(self):
        self.answer(200 if self.path.endswith("have") else 404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.command, self.path, self.headers["Content-Type"]))
        self.answer(201, json.dumps({"got": json.loads(body)}).encode())

    def do_PUT(self):
        self.server.stored[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, b"")

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.seen, self.stored = [], {}


@pytest.fixture
def server() -> Iterator[tuple[Path, Server]]:
    with tempfile.TemporaryDirectory(prefix="fc-") as folder:
        path = Path(folder, "s")
        with Server(path) as serving:
            thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
            thread.start()
            yield path, serving
            serving.shutdown()
            thread.join()


@pytest.fixture
def client(server) -> Iterator[Client]:
    with Client(UnixTransport(server[0]), "secret") as made:
        yield made


def test_every_request_carries_the_token(client, server):
    client.get("/v1/jobs")
    assert server[1].seen == [("GET", "/v1/jobs", "Bearer secret")]


def test_queries_leave_out_what_is_none_and_escape_the_rest(client):
    found = client.get("/v1/jobs", state=None, owner="a b&c", all=True)
    assert found == {"path": "/v1/jobs?owner=a+b%26c&all=true"}


def test_a_post_sends_json(client):
    assert client.post("/v1/jobs", {"name": "x"}) == {"got": {"name": "x"}}


def test_an_error_answer_keeps_its_three_parts(client):
    with pytest.raises(Refusal) as caught:
        client.get("/v1/missing")
    refused = caught.value
    assert (refused.status, refused.what, refused.remedy) == (404, "there is no job 9", "see `farm jobs`")


def test_an_error_answer_that_is_no_json_still_says_something(client):
    with pytest.raises(Refusal, match="500"):
        client.get("/v1/broken")


def test_who_is_patient_asks_again_where_a_service_is_shut_down_under_a_call(client, server):
    client.bear(Patience(60))
    assert client.get("/v1/broken-once") == {"path": "/v1/broken-once"}
    assert [path for _, path, _ in server[1].seen] == ["/v1/broken-once"] * 2


def test_a_connection_the_server_closed_is_made_anew(client):
    client.get("/v1/hang-up")
    assert client.get("/v1/after") == {"path": "/v1/after"}


def test_the_store_is_given_bytes(client, server):
    data = b"x" * 300_000
    digest = hashlib.sha256(data).hexdigest()
    client.upload(digest, io.BytesIO(data), len(data))
    assert server[1].stored == {f"/v1/store/{digest}": data}


def test_a_log_part_says_where_it_goes_on(client):
    part = client.log("17.1", offset=10)
    assert (part.data, part.next, part.final) == (b"hello\n", 16, True)


def test_without_a_service_the_remedy_is_to_start_one(tmp_path):
    with pytest.raises(Unreachable, match="farm up"):
        connect(Home(tmp_path / "home"))


def test_a_socket_left_by_a_killed_service_counts_as_none(tmp_path):
    home = Home(tmp_path / "home").make()
    home.make_run()
    Server(home.socket).server_close()
    assert home.socket.exists()
    with pytest.raises(Unreachable):
        connect(home)


async def _echo(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    said = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "size": len(body),
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Seen", b"yes")]})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()[:10], "more_body": True})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()[10:]})


def test_in_process_calls_pass_path_query_and_long_bodies():
    answer = AsgiTransport(_echo).send("PUT", "/v1/a%20b?x=1", io.BytesIO(b"y" * 3_000_000), {})
    assert json.loads(answer.body.read()) == {"method": "PUT", "path": "/v1/a b", "query": "x=1", "size": 3_000_000}
    assert answer.headers == {"x-seen": "yes"}
