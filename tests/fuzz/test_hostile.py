"""What somebody who means harm, or whose program is broken, may send: refused in one sentence, and nothing is made."""

import json
import socket
import time

import pytest
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from farm import overview
from farm.api import bodies
from tests.fuzz.served_farm import ServedFarm

STEP = {"argv": ["true"]}
JOB = {"name": "job", "owner": "ada", "steps": [STEP]}
LONG = "x" * 5000


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with ServedFarm(tmp_path_factory.mktemp("farm"), '[api]\nlargest_upload = "1M"\n') as farm:
        yield farm


def refused(served, method, path, body=None, among=(400, 404)):
    """The error; the database and the store are as before."""
    before, stored = served.dump(), sorted(p.name for p in served.farm.home.store.rglob("*"))
    began = time.monotonic()
    status, said = served.call(method, path, body)
    assert status in among, said[:500]
    assert time.monotonic() - began < 30
    error = json.loads(said)["error"]
    assert set(error) == {"what", "where", "remedy"}
    assert error["what"]
    assert len(said) < 2000, "one sentence"
    assert served.dump() == before
    assert sorted(p.name for p in served.farm.home.store.rglob("*")) == stored
    return error


def job(step=None, **more):
    return json.dumps({**JOB, "steps": [{**STEP, **(step or {})}], **more}).encode()


def file(path, digest="a" * 64):
    return {"inputs": [{"path": path, "digest": digest, "size": 1}]}


RAW = {
    "no JSON": b"{",
    "not UTF-8": b'{"name": "\xff"}',
    "UTF-16": json.dumps(JOB).encode("utf-16"),
    "nested": b'{"name":' * 50_000,
    "nested lists": b"[" * 1_000_000,
    "a key twice": b'{"name":"a","name":"b","owner":"ada","steps":[{"argv":["true"]}]}',
    "NaN": b'{"name":"a","owner":"ada","steps":[{"argv":["true"],"timeout_s":NaN}]}',
    "Infinity": b'{"name":"a","owner":"ada","steps":[{"argv":["true"],"timeout_s":-Infinity}]}',
    "1e999": b'{"name":"a","owner":"ada","steps":[{"argv":["true"],"timeout_s":1e999}]}',
    "digits": b'{"name":"a","owner":"ada","priority":' + b"9" * 5000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "NUL": b'{"name":"a\\u0000b","owner":"ada","steps":[{"argv":["true"]}]}',
    "half a surrogate": b'{"name":"a","owner":"ada","steps":[{"argv":["\\udcff"]}]}',
    "a NUL in a key": b'{"name":"a","owner":"ada","steps":[{"argv":["true"],"env":{"A\\u0000":"1"}}]}',
    "a surrogate as a key": b'{"\\ud800": 1}',
    "a million wrong ones": b'{"name":"a","owner":"ada","after":[' + b'"a",' * 1_000_000 + b"1]}",
    "a long key": b'{"' + b"k" * 1_000_000 + b'": 1}',
}
JOBS = {
    "a newline in the name": job(name="a\nb"),
    "an escape in the name": job(name="\x1b[2J"),
    "a right-to-left override": job(name="gnp.\u202etxt"),
    "a newline in the owner": job(owner="ada\nroot"),
    "a newline in the project": job(project="a\r\nb"),
    "a newline in the lane": job(lane="default\n"),
    "a newline in a step": job({"name": "a\nb"}),
    "a newline in an item": job({"argv": [], "items": [{"name": "a\nb", "argv": ["true"]}]}),
    "a long name": job(name=LONG),
    "2^63 of memory": job({"memory": 2**63}),
    "2^64 of time": job({"timeout_s": 2**64}),
    "a long prediction": job({"predicted_s": 1e300}),
    "a chunk of 2^70": job({"array": {"first": 1, "last": 2}, "chunk": 2**70}),
    "an array of 10^15": job({"array": {"first": 1, "last": 10**15}}),
    "an array beyond 2^52": job({"array": {"first": 1, "last": 2**63}}),
    "a step of nothing": job({"array": {"first": 1, "last": 5, "step": 0}}),
    "true for a number": job({"cpu": True}),
    "after 2^63": job(after=[2**63]),
    "after itself": job({"after": ["main"]}),
    "a variable with a newline": job({"env": {"A\nB": "1"}}),
    "an argument of a megabyte": job({"argv": ["x" * (1 << 20)]}),
    "an input above": job(file("../x")),
    "an input from the root": job(file("/etc/passwd")),
    "an input with a NUL": job(file("a\0b")),
    "an input with a long path": job(file(LONG)),
    "an input with a dot": job(file("a//b")),
    "a folder above": job({"cwd": "../.."}),
    "outputs above": job({"outputs": ["../*"]}),
    "outputs from the root": job({"outputs": ["/etc/*"]}),
    "outputs gathered above": job({"gather": "../x"}),
    "outputs gathered at the root": job({"gather": "/tmp/x"}),
    "a bad digest": job(file("a", "A" * 64)),
    "a digest that is a path": job(file("a", "../" * 21 + "x")),
}


@pytest.mark.parametrize("what", RAW)
def test_a_body_that_means_nothing(served, what):
    refused(served, "POST", "/v1/jobs", RAW[what])


@pytest.mark.parametrize("what", JOBS)
def test_a_job_that_can_not_be_meant(served, what):
    refused(served, "POST", "/v1/jobs", JOBS[what])


def test_a_key_that_looks_like_a_place_is_told_as_it_is(served):
    assert refused(served, "POST", "/v1/prune", b'{"[0]": 1}')["what"] == "unknown key '[0]'"
    assert "did you mean 'name'" in refused(served, "POST", "/v1/jobs", job(**{"nam": "x"}))["remedy"]


def test_a_cycle_among_a_hundred_thousand_items_is_named(served):
    many = [{"name": f"i{n}", "argv": ["x"], "after": [f"i{n - 1}"]} for n in range(1, 100_000)]
    error = refused(
        served,
        "POST",
        "/v1/jobs",
        job({"argv": [], "items": [{"name": "i0", "argv": ["x"], "after": ["i99999"]}, *many]}),
    )
    assert "i0 → i99999 → i99998" in error["what"]
    assert "100000 in all" in error["what"]


def test_a_small_cycle_is_named_whole(served):
    items = [{"name": n, "argv": ["x"], "after": [b]} for n, b in ("ab", "bc", "ca", "da")]
    error = refused(served, "POST", "/v1/jobs", job({"argv": [], "items": items}))
    assert "a → b → c → a" in error["what"]


@pytest.mark.parametrize(
    "path", ["/", "relative", "", "/nowhere", "/" + "x" * 300, "/x" * 5000, "/etc/passwd", "a\nb", "/\0"]
)
@pytest.mark.parametrize("call", ["/v1/rebuilds", "/v1/events/git"])
def test_a_tree_that_is_none(served, path, call, tmp_path):
    push = {"repository": path, "ref": "refs/heads/main", "old": "0" * 40, "new": "1" * 40}
    body = {"tree": path or ".", "owner": "ada"} if call == "/v1/rebuilds" else push
    if path != "/" or call == "/v1/events/git":
        refused(served, "POST", call, json.dumps(body).encode())


@pytest.mark.parametrize(
    "ref",
    [
        "0",
        "-1",
        "1.0",
        "1.1.1.1",
        "1" * 30,
        "1.",
        ".1",
        "%00",
        "1%0a",
        "%D9%A1",
        "..%2f..",
        LONG,
        "%ff",
        "1%2e%2e%2fx",
        "'\";--",
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        "GET /v1/jobs/{}",
        "GET /v1/tasks/{}",
        "GET /v1/logs/{}",
        "GET /v1/why/{}",
        "POST /v1/jobs/{}/cancel",
        "GET /v1/store/{}",
    ],
)
def test_a_reference_that_is_none(served, ref, call):
    method, path = call.split()
    if "store" in path or (ref != "1%0a" and (ref, path) != ("1.0", "/v1/jobs/{}")):  # these are read as 1
        refused(served, method, path.format(ref))


@pytest.mark.parametrize(
    "query",
    [
        "sttae=done",
        "state=nothing",
        "limit=0",
        "limit=-1",
        "limit=1e3",
        "limit=" + "9" * 30,
        "state=done&state=done",
        "limit=NaN",
        "%00=1",
    ],
)
def test_a_question_that_means_nothing(served, query):
    refused(served, "GET", f"/v1/jobs?{query}")


@pytest.mark.parametrize(
    "query", ["since=soon", "since=3991", "since=2026-01-31T12:00:00", "since=2026-99-01T00:00:00Z", "by=moon"]
)
def test_a_report_of_no_time(served, query):
    refused(served, "GET", f"/v1/reports/cost?{query}")


def test_names_with_quotes_and_every_alphabet_come_back_as_they_were(served):
    name = '"it\'s" <b>ü 漢字 👩‍🚀; DROP TABLE job;--'
    status, said = served.call("POST", "/v1/jobs", job({"argv": ["echo", "a\nb"]}, name=name))
    assert status == 201
    assert json.loads(served.call("GET", f"/v1/jobs/{json.loads(said)['id']}")[1])["name"] == name


# ── bodies ──


def test_a_body_over_the_limit_is_refused_before_it_is_sent(served):
    with served.connect() as sock:
        sock.sendall(_head(served, "POST", "/v1/jobs", bodies.LIMIT + 1) + b"{")
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_grows_over_the_limit_is_refused(served):
    with served.connect() as sock:
        sock.sendall(
            _head(served, "PUT", "/v1/store/" + "0" * 64) + b"".join([b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 17)
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert not list((served.farm.home.store / "incoming").iterdir())


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "99999999999999999999999999"])
def test_a_length_that_is_none_is_refused(served, length):
    with served.connect() as sock:
        sock.sendall(_head(served, "POST", "/v1/jobs", length) + b"{}")
        assert sock.recv(1000).split()[1] in (b"400", b"413")


def test_slow_bodies_hold_up_nobody_and_end(served, monkeypatch):
    monkeypatch.setattr(bodies, "SILENCE_S", 5)
    paths = ["/v1/jobs", "/v1/store/" + "0" * 64, "/v1/sites/local/sync"]
    methods = ["POST", "PUT", "POST"]
    slow = [(served.connect(), method, path) for method, path in zip(methods, paths, strict=True) for _ in range(100)]
    for sock, method, path in slow:
        sock.sendall(_head(served, method, path, 1000) + b"{")
    assert served.call("POST", "/v1/jobs", job())[0] == 201
    for sock, _, _ in slow:
        assert sock.recv(1000).startswith(b"HTTP/1.1 408 ")
        sock.close()
    assert not list((served.farm.home.store / "incoming").iterdir())


def test_a_header_that_never_ends_holds_up_nobody(served):
    with served.connect() as sock:
        sock.sendall(b"GET /v1/status HTTP/1.1\r\nX: ")
        assert served.call("GET", "/v1/status")[0] == 200


@pytest.mark.parametrize(
    "line", [b"GET /v1/\xff HTTP/1.1", b"GET /v1/jobs?state=\xff HTTP/1.1", b"\0\0\0\0", b"GET " + b"x" * 200_000]
)
def test_a_request_line_of_nonsense(served, line):
    with served.connect() as sock:
        sock.sendall(line + b"\r\nHost: x\r\nAuthorization: Bearer " + served.farm.home.token().encode() + b"\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        status = (sock.recv(1000).split() or [b"", b"400"])[1]
        assert status[:1] == b"4"
    assert served.call("GET", "/v1/status")[0] == 200


def _head(served, method, path, length=None):
    size = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
    fields = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", size]
    fields.append(f"Authorization: {served.headers['Authorization']}")
    return "\r\n".join([*fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("path", "methods"), [("/v1/jobs", "GET, POST"), ("/v1/store/x", "GET, HEAD, PUT"), ("/v1/down", "POST")]
)
def test_a_method_that_is_none_is_told_which_there_are(served, path, methods):
    with served.connect() as sock:
        sock.sendall(_head(served, "PATCH", path, 0))
        said = sock.recv(2000).decode()
    assert said.startswith("HTTP/1.1 405 ")
    assert f"allow: {methods}\r\n" in said


# ── what goes wrong on our side ──


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        (RuntimeError("secret"), 500, "something unexpected happened: RuntimeError"),
        (OSError(28, "No space left on device", "farm.db"), 507, "the farm's disk is full; nothing was kept"),
        (OSError(30, "Read-only file system", "farm.db"), 503, "Read-only file system"),
        (DatabaseError("x", {}, Exception("database disk image is malformed")), 503, "malformed"),
        (OperationalError("x", {}, Exception("database or disk is full")), 507, "the farm's disk is full"),
        (NoConnection("QueuePool limit"), 503, "the database is too busy"),
    ],
)
def test_our_own_faults_are_told_in_the_same_form(served, monkeypatch, error, expected, says):
    def fail(_farm):
        raise error

    monkeypatch.setattr(overview, "status", fail)
    status, said = served.call("GET", "/v1/status")
    assert status == expected
    assert says in json.loads(said)["error"]["what"]
    assert b"secret" not in said
    assert b"Traceback" not in said
