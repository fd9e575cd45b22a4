"""EC2 to try against: moto's real server, and before it a proxy that adds what moto leaves out.

The proxy keeps client tokens as EC2 does, has stock and quotas, and on request loses answers, throttles, lists late or
shows an old listing.
"""

import contextlib
import http.client
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

SERVE = """
import os, sys, threading
from moto.server import main
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # it ends with who started it
main(["-H", "127.0.0.1", "-p", "0"])
"""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
Call = dict[str, str]


class Moto:
    """The server, in a process of its own."""

    def __init__(self) -> None:
        env = os.environ | {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVE],
            env=env,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is not for it: who cleans up afterwards needs it
        )
        assert self._process.stdout
        said = b""
        while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)", said)):
            line = self._process.stdout.readline()
            assert line, f"moto does not start: {said.decode()}"
            said += line
        self.port = int(found[1])
        self._reader = threading.Thread(target=self._process.stdout.read)  # its log must not fill the pipe
        self._reader.start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._process.stdin.close()


class Cloud:
    """The proxy. `url` is what an ec2 pool is given as its endpoint_url."""

    def __init__(self, moto: Moto, place: contextlib.AbstractContextManager[object] | None = None) -> None:
        """Within `place` it listens: the network that it is reached from."""
        self._moto = moto
        self._lock = threading.RLock()
        self._tokens: dict[str, tuple[Call, str, bytes]] = {}
        self.calls: list[Call] = []
        self.faults: deque[tuple[str, str]] = deque()  # (action, "lost" | an error code): what the next such call meets
        self.sold_out: set[str] = set()  # instance types
        self.lose_sale = False  # the answer to the next call that really buys
        self.quota: int | None = None  # living instances in all
        self.late: set[str] = set()  # instances that nobody is told of yet
        self.all_late = False  # nor of those that are bought from now on
        self.old_listing: bytes | None = None  # what is listed instead of the truth
        self.on_run: Callable[[str, Call], None] = lambda _id, _call: None
        self.on_end: Callable[[Iterable[str]], None] = lambda _ids: None
        with place or contextlib.nullcontext():
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.handle_error = lambda *_: None  # who asked has gone
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, action: str) -> int:
        return sum(call["Action"] == action for call in self.calls)

    # ── what it does with a call ──

    def answer(self, call: Call, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Status and answer; None: it is lost."""
        with self._lock:
            self.calls.append(call)
            fault = self._fault(call["Action"])
            if fault not in ("", "lost"):
                return _error(fault, 503 if fault == "RequestLimitExceeded" else 400)
            handle = {"RunInstances": self._run, "DescribeInstances": self._describe}.get(call["Action"], self._pass)
            answer = handle(call, headers, body)
            return None if fault or not answer[0] else answer

    def _fault(self, action: str) -> str:
        if self.faults and self.faults[0][0] == action:
            return self.faults.popleft()[1]
        return ""

    def _run(self, call: Call, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        token = call.get("ClientToken", "")
        if token in self._tokens:
            return self._again(call, *self._tokens[token])
        if call["InstanceType"] in self.sold_out:
            return _error("InsufficientInstanceCapacity", 500)
        if self.quota is not None and len(self.living()) >= self.quota:
            return _error("VcpuLimitExceeded", 400)
        status, answer = self._pass(call, headers, body)
        if status == 200:
            (instance,) = _texts(answer, "instanceId")
            self._tokens[token] = call, instance, answer
            if self.all_late:
                self.late.add(instance)
            self.on_run(instance, call)
            if self.lose_sale:
                self.lose_sale = False
                return 0, b""
        return status, answer

    def _again(self, call: Call, before: Call, instance: str, answer: bytes) -> tuple[int, bytes]:
        if call != before:
            return _error("IdempotentParameterMismatch", 400)
        return (200, answer) if instance in self.living() else _error("IdempotentInstanceTerminated", 400)

    def _describe(self, call: Call, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self.old_listing is not None:
            return 200, self.old_listing
        status, answer = self._pass(call, headers, body)
        return status, _without(answer, self.late)

    def _pass(self, call: Call, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        ids = [value for key, value in call.items() if key.startswith("InstanceId")]
        if call["Action"] == "TerminateInstances" and self.late & set(ids):
            return _error("InvalidInstanceID.NotFound", 400)
        status, answer = self._asked(headers, body)
        if call["Action"] == "TerminateInstances" and status == 200:
            self.on_end(ids)
        return status, answer

    def _asked(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self._moto.port, timeout=60)
        line.request("POST", "/", body, headers)
        answer = line.getresponse()
        return answer.status, answer.read()

    # ── what a person at its console does ──

    def act(self, **call: str) -> bytes:
        body = "&".join(f"{key}={value}" for key, value in {**call, "Version": "2016-11-15"}.items()).encode()
        words = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": AUTHORIZATION}
        status, answer = self._asked(words, body)
        assert status == 200, answer
        return answer

    def living(self) -> list[str]:
        return _texts(self.act(Action="DescribeInstances", **LIVING), "instanceId")

    def listing(self, farm: str) -> bytes:
        return self.act(Action="DescribeInstances", **{"Filter.1.Name": "tag:farm.io/farm", "Filter.1.Value.1": farm})

    def power_off(self, *instances: str) -> None:
        """As when they end themselves, or by another hand."""
        for instance in instances:
            self.act(Action="TerminateInstances", **{"InstanceId.1": instance})


AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=nobody/20260101/eu-central-1/ec2/aws4_request, SignedHeaders=host, Signature=0"
)
LIVING = {
    "Filter.1.Name": "instance-state-name",
    "Filter.1.Value.1": "pending",
    "Filter.1.Value.2": "running",
}


def _error(code: str, status: int) -> tuple[int, bytes]:
    text = f"<Response><Errors><Error><Code>{code}</Code><Message>on request</Message></Error></Errors></Response>"
    return status, text.encode()


def _texts(answer: bytes, name: str) -> list[str]:
    return [found.text or "" for found in ElementTree.fromstring(answer).iter() if found.tag.endswith(f"}}{name}")]


def _without(answer: bytes, instances: set[str]) -> bytes:
    if not instances:
        return answer
    tree = ElementTree.fromstring(answer)
    for group in [e for e in tree.iter() if e.tag.endswith("}instancesSet")]:
        for item in list(group):
            if any(child.tag.endswith("}instanceId") and child.text in instances for child in item):
                group.remove(item)
    return ElementTree.tostring(tree)


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = cloud.answer(dict(parse_qsl(body.decode(), True)), dict(self.headers), body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

    return Handler
