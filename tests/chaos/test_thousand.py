"""A PostgreSQL that is killed while a thousand tasks end each second."""

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from executors.contract import Work
from executors.site.channel import Channel
from executors.site.conversation import Conversation
from farm.bench.alone_farm import SETTINGS
from farm.bench.fake_site import FakeSite
from farm.client import Unreachable, connect
from farm.db import Database
from farm.home import SITE, Home
from farm.integrity import look
from farm.refusal import Refusal
from tests.chaos.ground import until
from tests.postgres import Postgres

EXECUTORS, TASK_S = 50, 0.05
TASKS, KILLS = 3000, (700, 1700)  # tasks that have ended
PACE_S = 0.1
SETTING = '[database]\nurl = "{url}"\n'


class Remembers(FakeSite):
    """How often each task was begun."""

    def __init__(self) -> None:
        super().__init__(TASK_S)
        self.began: Counter[str] = Counter()

    def start(self, works: Sequence[Work], on: str, /) -> None:
        self.began.update(work.attempt.rpartition(".")[0] for work in works)
        super().start(works, on)


class Alone:
    """A service whose executors we are, and its database server."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self.server, self.database = server, server.bare()
        self.home, self.site = Home(folder).make(), Remembers()
        self.home.config_file.write_text(
            SETTINGS.format(executors=EXECUTORS) + SETTING.format(url=server.url(self.database))
        )
        words = ["-m", "farm.bench.alone", "--home", str(folder), str(folder / "times")]
        with self.home.service_log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, start_new_session=True)
        self.talk = Conversation(self.site, self._channel, lambda: None, lambda: None)

    def _channel(self, wait_s: float) -> Channel:
        return Channel(str(self.home.socket), self.home.token_file, SITE, wait_s)

    def start(self) -> None:
        until(lambda: self.get("/v1/status"), 60, "it answers", PACE_S)
        self.talk.start()
        until(self._ready, 60, "all executors are ready", PACE_S)

    def _ready(self) -> bool:
        return (self.get("/v1/status") or {"executors": {}})["executors"].get("ready", 0) == EXECUTORS

    def get(self, path: str) -> dict | None:
        try:
            with connect(self.home) as client:
                return client.get(path)
        except (Refusal, Unreachable):
            return None

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.server.sql(query, self.database)

    def close(self) -> None:
        self.talk.close()
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.home.run, ignore_errors=True)


@pytest.fixture
def alone() -> Iterator[Alone]:
    server = Postgres("shared_buffers=32MB")
    server.start()
    with tempfile.TemporaryDirectory(prefix="ft-") as folder:
        made = Alone(Path(folder), server)
        try:
            made.start()
            yield made
        finally:
            made.close()
            server.remove()


def test_a_server_killed_in_the_middle_of_a_thousand_ends_a_second(alone: Alone) -> None:
    with connect(alone.home) as client:
        step = {"argv": ["true"], "array": {"first": 1, "last": TASKS, "step": 1}}
        job = client.post("/v1/jobs", {"name": "many", "owner": "ada", "steps": [step]})["id"]
    for ended in KILLS:
        until(lambda least=ended: alone.site.ended >= least, 90, f"{ended} have ended")
        alone.server.stop(signal.SIGKILL)
        threading.Event().wait(0.3)
        alone.server.start()
    until(lambda: (alone.get(f"/v1/jobs/{job}") or {}).get("state") == "done", 120, "all are done", PACE_S)
    assert len(alone.site.began) == TASKS
    assert set(alone.site.began.values()) == {1}
    succeeded = "SELECT COUNT(*), COUNT(DISTINCT number) FROM attempt WHERE state = 'succeeded'"
    assert alone.rows(succeeded) == [(TASKS, TASKS)]
    with closing(Database.url(alone.server.url(alone.database))) as db:
        assert [one.what for one in look(db)] == []
