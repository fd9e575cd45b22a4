"""A farm and processes that serve its API beside the one that leads, as a person starts them."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from executors.site.process import Process
from farm import roll
from farm.client import Client, at_socket, connect
from farm.connection import Connection, unix
from farm.home import Home
from tests.journeys.shell import Shell

SETTINGS = """
[site]
engine = "plain"
[listen]
address = "127.0.0.1:0"
[pools.local]
slots = 4
ceiling = 4
[pools.desks]
provider = "static"
"""
PATIENCE_S = 60
ENDED = ("done", "failed", "cancelled")


class Beside:
    """One home: a leader, and as many others as the tests start."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url, self.home = url, Home(folder / "home")
        self.home.path.mkdir()
        database = '[database]\nurl_file = "url"\n' if url else ""
        self.home.config_file.write_text(SETTINGS + database)
        (self.home.path / "url").write_text(url)
        self.shell = Shell(self.home.path, folder)

    def serve(self) -> Process:
        """One more that serves."""
        pid = self.shell.json("up", "--api")["pid"]
        return next(process for _, process in roll.living(self.home) if process.pid == pid)

    def others(self) -> list[Process]:
        return [process for _, process in roll.living(self.home)]

    def socket(self, of: Process) -> Path:
        return next(path for path, process in roll.living(self.home) if process == of)

    def client(self, of: Process) -> Client:
        return at_socket(self.home, self.socket(of))

    def leading(self) -> Client:
        return connect(self.home)

    def leader(self) -> Process:
        return Process.of(int(self.home.lock.read_text()))

    def kill_leader(self) -> None:
        leader = self.leader()
        os.kill(leader.pid, signal.SIGKILL)
        assert leader.wait(PATIENCE_S)

    def ask(
        self, socket: Path, method: str, path: str, body: Any = None, key: str = "", **query: object
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of what answers at a socket."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.home.token()}", "Content-Type": "application/json"}
        target = f"{path}?{urlencode(query)}" if query else path
        connection = Connection(unix(socket), PATIENCE_S)
        try:
            status, told, answer = connection.ask(
                method, target, {**headers, **({"Idempotency-Key": key} if key else {})}, data
            )
            return status, told, answer.read()
        finally:
            connection.close()


@contextmanager
def beside(url: str = "") -> Iterator[Beside]:
    """Its farm is up, with one that serves beside; at the end all of it goes down."""
    with tempfile.TemporaryDirectory(prefix="fs-", dir="/tmp") as folder:
        made = Beside(Path(folder), url)
        made.shell("up")
        try:
            made.serve()
            yield made
        finally:
            for process in made.others():
                process.signal(signal.SIGCONT)
            made.shell("up")  # where a test has killed the leader, its gateway and executors wait for the next one
            made.shell("down", "--terminate")
            for process in made.others():
                process.end(PATIENCE_S)


def job(name: str, *argv: str, **step: Any) -> dict[str, Any]:
    return {"name": name, "owner": "ada", "steps": [{"name": "main", "argv": argv, **step}]}


def ended(client: Client, number: int) -> Any:
    """The job, once it has ended; however many polls that takes."""
    seen, until_s = 0, time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        found = client.get(f"/v1/jobs/{number}/wait", timeout=30, seen=seen, tasks=False)
        if found["state"] in ENDED:
            return found
        seen = found["seen"]
    raise AssertionError(f"job {number} has not ended")
