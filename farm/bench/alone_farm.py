"""A farm in a temporary home whose service runs alone: what is measured of it is the queue's and nobody else's."""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from farm import postgres
from farm.bench import meter
from farm.bench.cluster import Cluster
from farm.client import Client, Unreachable, connect
from farm.database_url import only_in_home
from farm.db import Database
from farm.home import Home
from farm.refusal import Unavailable

START_S = 60.0
SETTINGS = """[pools.simulated]
provider = "simulated"
slots = 1
max_slots = 1
floor = {executors}
ceiling = {executors}
[pools.simulated.options]
boot_s = 0.01
"""
ELSEWHERE = """[database]
url = "{url}"
"""
_BYTES = "SELECT pg_database_size(current_database())"
_names = count(1)


@dataclass(frozen=True, slots=True)
class Decision:
    """How long it took, and how many tasks were given out."""

    wall_s: float
    cpu_s: float
    tasks: int


@dataclass(frozen=True, slots=True)
class AloneFarm:
    """`client` and `db` come from outside, as another process's do; what `db` writes is written as by the service."""

    home: Home
    client: Client
    db: Database
    pid: int
    server: int | None = None  # the first process of the database server

    @property
    def most_rss_mib(self) -> float:
        return meter.rss_mib(self.pid, "VmHWM")

    @property
    def cpu_s(self) -> float:
        """Of the service and of the database server."""
        return self.service_cpu_s + self.server_cpu_s

    @property
    def service_cpu_s(self) -> float:
        return meter.cpu_s([self.pid])

    @property
    def server_cpu_s(self) -> float:
        return meter.cpu_s([self.server]) if self.server else 0.0

    @property
    def bytes(self) -> int:
        """Of the database, SQLite's once all of it is in its one file; PostgreSQL's once what is dead may be reused."""
        with self.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
            if not self.db.sqlite:
                tx.exec_driver_sql("VACUUM")
                return int(tx.exec_driver_sql(_BYTES).scalar_one())
            tx.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.home.database.stat().st_size

    def decisions(self) -> list["Decision"]:
        """Each time that free slots were given to somebody."""
        lines = (line.split() for line in times(self.home).read_text().splitlines(keepends=True) if line.endswith("\n"))
        return [Decision(float(wall), float(cpu), int(tasks)) for wall, cpu, tasks in lines]

    def command(self, *words: str) -> float:
        """Seconds that a command of the command line takes. Raises Unavailable when it fails."""
        begin = time.perf_counter()
        call = [sys.executable, "-P", "-m", "farm", *words, "--home", str(self.home.path)]
        done = subprocess.run(call, capture_output=True, check=False)
        if done.returncode:
            raise Unavailable(f"`farm {' '.join(words)}` failed: {done.stderr.decode(errors='replace')[-300:]}")
        return time.perf_counter() - begin


def times(home: Home) -> Path:
    return home.path / "decisions.txt"


@contextmanager
def alone(executors: int = 0, cluster: Cluster | None = None) -> Iterator[AloneFarm]:
    """Up for as long as this lasts; on SQLite, or on a new database of the `cluster`."""
    with tempfile.TemporaryDirectory(prefix="farm-bench-") as folder:
        only_in_home()
        home = Home(Path(folder)).make()
        url = cluster.database(f"alone{next(_names)}") if cluster else None
        settings = SETTINGS.format(executors=executors) + (ELSEWHERE.format(url=url) if url else "")
        home.config_file.write_text(settings)
        words = ["-P", "-m", "farm.bench.alone", "--home", folder, str(times(home))]
        with home.service_log.open("wb") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, start_new_session=True)
        try:
            with _answering(home, process) as client:
                db = _database(home, url)
                yield AloneFarm(home, client, db, process.pid, cluster.pid if cluster else None)
                db.close()
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(home.run, ignore_errors=True)


def _database(home: Home, url: str | None) -> Database:
    if url is None:
        return Database.file(home.database)
    db = Database.url(url)
    with db.read() as tx:
        db.term = postgres.term(tx)  # else each write would wake the service
    return db


def _answering(home: Home, process: "subprocess.Popen[bytes]") -> Client:
    pause, until = threading.Event(), time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            client = connect(home)
            client.get("/v1/status")
            return client
        except Unreachable:
            pause.wait(0.05)
    raise Unavailable("the service did not answer", str(home.service_log), home.service_log.read_text()[-500:])


def answered(client: Client, path: str, body: Any) -> tuple[Any, float]:
    """What the API answers, and after how many seconds."""
    begin = time.perf_counter()
    said = client.post(path, body)
    return said, time.perf_counter() - begin
