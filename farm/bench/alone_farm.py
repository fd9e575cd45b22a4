"""A farm in a temporary home whose service runs alone: what is measured of it is the queue's and nobody else's."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.client import Client, Unreachable, connect
from farm.database_url import only_in_home
from farm.db import Database
from farm.home import Home
from farm.refusal import Unavailable

START_S = 60.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SETTINGS = """[pools.simulated]
provider = "simulated"
slots = 1
max_slots = 1
floor = {executors}
ceiling = {executors}
[pools.simulated.options]
boot_s = 0.01
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """How long it took, and how many tasks were given out."""

    wall_s: float
    cpu_s: float
    tasks: int


@dataclass(frozen=True, slots=True)
class AloneFarm:
    """`client` and `db` come from outside, as another process's do."""

    home: Home
    client: Client
    db: Database
    pid: int

    @property
    def rss_mib(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    @property
    def bytes(self) -> int:
        """Of the database, once all of it is in its one file."""
        with self.db.engine.connect() as tx:
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
def alone(executors: int = 0) -> Iterator[AloneFarm]:
    """Up for as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="farm-bench-") as folder:
        only_in_home()
        home = Home(Path(folder)).make()
        home.config_file.write_text(SETTINGS.format(executors=executors))
        words = ["-P", "-m", "farm.bench.alone", "--home", folder, str(times(home))]
        with home.service_log.open("wb") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, start_new_session=True)
        try:
            with _answering(home, process) as client:
                db = Database.file(home.database)
                yield AloneFarm(home, client, db, process.pid)
                db.close()
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(home.run, ignore_errors=True)


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
