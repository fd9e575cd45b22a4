"""A farm with something in its queue, its API served on a loopback port."""

import http.client
import socket
from contextlib import AbstractContextManager
from pathlib import Path

from farm.api.jobs import cancel
from farm.auth import home_principal
from farm.context import Farm, new_term, open_farm
from farm.dispatch import Dispatcher
from farm.home import Home
from farm.model import JobSpec
from farm.server import Server
from farm.sites import Sites
from farm.submission import submit

BODY = b"a file of the store"


class ServedFarm(AbstractContextManager):
    """The real application behind the real server; no executors, no wheel."""

    def __init__(self, home: Path, settings: str = "") -> None:
        Home(home).make()
        Home(home).config_file.write_text(settings)
        self.farm: Farm = open_farm(Home(home))
        self.farm.home.make_run()
        with self.farm.db.write() as tx:
            dispatcher = Dispatcher(self.farm.config.all_lanes(), new_term(tx))
        farm = self.farm
        farm.sites = Sites(farm.db, farm.clock, dispatcher, farm.home.logs, farm.feed, lambda: None, 60)
        self.digest = farm.store.put_bytes(BODY)
        self._fill()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.server = Server(farm, listening)
        self.server.start()

    def _fill(self) -> None:
        file = {"path": "in/file", "digest": self.digest, "size": len(BODY)}
        steps = [{"argv": ["true"], "inputs": [file]}]
        self.submit(steps=steps)
        self.submit(steps=[{"argv": ["echo", "{index}"], "array": {"first": 1, "last": 1000}, "chunk": 10}])
        items = [{"name": "a", "argv": ["true"]}, {"name": "b", "argv": ["true"], "after": ["a"]}]
        self.submit(steps=[{"items": items}], after=[1], lane="bulk", project="film")
        cancel(self.farm, home_principal("ada"), str(self.submit(steps=steps)))

    def submit(self, **spec) -> int:
        return submit(self.farm, JobSpec.model_validate({"name": "job", "owner": "ada", **spec}))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.farm.home.token()}"}

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **self.headers, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def dump(self) -> list[str]:
        """All rows of the database."""
        with self.farm.db.read() as tx:
            return list(tx.connection.driver_connection.iterdump())

    def __exit__(self, *_: object) -> None:
        self.farm.sites.close()
        self.farm.feed.close()
        self.server.stop()
        self.farm.close()
