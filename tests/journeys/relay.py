"""A farm at work whose leader is stopped, killed and frozen while another process stands by."""

import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from executors.site.process import Process
from farm import lease
from farm import tables as t
from farm.client import connect
from farm.clock import from_micros, micros
from farm.config import load
from farm.database_url import find
from farm.db import Database
from farm.home import Home
from farm.integrity import look
from farm.lease import Member
from farm.postgres import term
from farm.refusal import Refusal
from tests.journeys.shell import Shell

PACE_S = 0.02
PATIENCE_S = 90.0


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    """What `true` gives as soon as that is something."""
    until_s, pause = time.monotonic() + seconds, threading.Event()
    while not (found := true()):
        assert time.monotonic() < until_s, f"after {seconds:g} s still not: {what}"
        pause.wait(PACE_S)
    return found


class Relay:
    """One farm: 50 tasks that wait to be released, and short ones that go on all the time."""

    def __init__(self, folder: Path, url: str = "", running: int = 50) -> None:
        self.folder, self.url, self.running = folder, url, running
        self.shell = self.settle("home")
        self.leading = self.shell  # whose home the leader is in
        self.effects, self.gate = folder / "effects", folder / "gate"
        self.effects.touch()

    def settle(self, name: str) -> Shell:
        """A home of this farm's settings."""
        home = self.folder / name
        home.mkdir()
        slots = self.running + 2
        pool = f'[pools.local]\nslots = {slots}\nceiling = {slots}\nprice_per_hour = "1.25"\n'
        database = '[database]\nurl_file = "url"\n' if self.url else ""
        (home / "farm.toml").write_text(f'[site]\nengine = "plain"\n{pool}{database}')
        (home / "url").write_text(self.url)
        return Shell(home, self.folder)

    def clock(self, shell: Shell, ahead_s: float) -> None:
        """The wall clock of its machine is that far ahead."""
        file = shell.home / "clock"
        file.write_text(str(ahead_s))
        shell.env["FARM_CLOCK_OFFSET"] = str(file)

    def twin(self, name: str) -> Shell:
        """Another home of the same farm: what a second machine sees of a disk that both share."""
        shell = self.settle(name)
        for one in ("farm-id", "token", "join-key", "store", "logs"):
            (shell.home / one).symlink_to(self.shell.home / one)
        return shell

    @property
    def home(self) -> Home:
        return Home(self.leading.home)

    # ── its books ──

    @cached_property
    def books(self) -> Database:
        return find(self.home, load(self.home.config_file)).connect()

    def term(self) -> int:
        with self.books.read() as tx:
            return term(tx)

    def leader(self) -> Member:
        with self.books.read() as tx:
            found = lease.leader(tx)
        assert found is not None
        return found

    def process(self) -> Process:
        who = self.leader()
        return Process(who.pid, who.started)

    def executors(self) -> int:
        with self.books.read() as tx:
            return int(tx.execute(select(func.count()).select_from(t.Executor)).scalar_one())

    # ── its work ──

    def begin(self) -> None:
        """The farm is up and all of its work has begun."""
        self.shell("up")
        script = 'echo "$FARM_TASK" >> "$0"; while [ ! -e "$1" ]; do sleep 0.5; done; echo end'
        self.job = self.submit("crowd", self.running, ["sh", "-c", script, str(self.effects), str(self.gate)])
        until(lambda: len(self.begun()) == self.running, "all tasks run")
        self.ticks = self.submit("ticks", 2000, ["sleep", "0.2"])
        until(lambda: self.handed_out(0), "the short ones run")

    def submit(self, name: str, tasks: int, argv: list[str]) -> int:
        step = {"name": "main", "argv": argv, "array": {"first": 1, "last": tasks, "step": 1}}
        with connect(self.home) as client:
            return int(client.submit("/v1/jobs", {"name": name, "owner": "x", "steps": [step]})["id"])

    def begun(self) -> Counter[str]:
        return Counter(self.effects.read_text().split())

    def handed_out(self, after: int) -> int | None:
        """When, in microseconds, the first task was handed out after that."""
        late = select(func.min(t.Attempt.claimed)).where(t.Attempt.claimed > from_micros(after))
        with self.books.read() as tx:
            found = tx.execute(late).scalar_one()
        return None if found is None else micros(found)

    def last(self) -> int:
        """When, in microseconds, a task was handed out last."""
        with self.books.read() as tx:
            return micros(tx.execute(select(func.max(t.Attempt.claimed))).scalar_one())

    def finish(self) -> None:
        """Every task of the crowd has run once and is done, and the books are right."""
        self.leading("cancel", str(self.ticks))
        self.gate.touch()
        self.leading("wait", str(self.job))
        assert self.leading.json("show", str(self.job))["tasks"]["done"] == self.running
        assert set(self.begun().values()) == {1}
        wrong = list(look(self.books))
        assert not wrong, wrong

    # ── its leaders ──

    def stand_by(self, shell: Shell, count: int = 1) -> None:
        """So many processes stand by, and the leader knows."""
        for _ in range(count):
            assert shell.json("up", "--standby")["standing_by"] is True
        until(lambda: len(self.standbys()) >= count, "the leader knows")

    def standbys(self) -> Any:
        try:
            with connect(self.home) as client:
                return client.get("/v1/status")["standbys"]
        except Refusal:
            return []

    def strike(self, how: signal.Signals) -> float:
        """Seconds until the next leader hands out a task."""
        victim, before = self.process(), self.term()
        began = time.time()
        os.kill(victim.pid, how)
        until(lambda: self.term() > before, "another one leads")
        after = micros(from_micros(int(time.time() * 1e6)))
        return until(lambda: self.handed_out(after), "a task is handed out") / 1e6 - began


@contextmanager
def relay(url: str = "", running: int = 50) -> Iterator[Relay]:
    """A farm, which goes down at the end."""
    with tempfile.TemporaryDirectory(prefix="fr-", dir="/tmp") as folder:
        made = Relay(Path(folder), url, running)
        try:
            yield made
        finally:
            made.gate.touch()
            made.leading("down", "--terminate")
            made.books.close()
