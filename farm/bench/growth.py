"""What submitting, claiming and finishing cost a task, from a hundred tasks to a million.

Of a large array some are worked off at its beginning and as many at its end; what is between is laid down as if it had
been: a claim at the end finds all those rows there.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from farm.bench import meter
from farm.bench.bare_queue import BareQueue
from farm.bench.cluster import Cluster
from farm.bench.laid import lay
from farm.clock import SystemClock
from farm.db import Database, migrate
from farm.model import JobSpec

BATCH = 200  # tasks of a claim, and ends of a report
WORKED = 10_000  # at either end


def growth(most: int, cluster: Cluster | None = None) -> list[dict[str, Any]]:
    """For 100, 1,000 … `most` tasks of one array; the queue's own functions on a database of its own."""
    sizes = [10**power for power in range(2, 9) if 10**power <= most]
    return [_of(size, cluster) for size in sizes]


def _of(tasks: int, cluster: Cluster | None) -> dict[str, Any]:
    with _database(tasks, cluster) as db:
        queue = BareQueue(db, SystemClock())
        _through(queue, 10)  # statements are compiled once
        return {"tasks": tasks, **_Spent(cluster.pid if cluster else None).run(queue, tasks)}


@contextmanager
def _database(tasks: int, cluster: Cluster | None) -> Iterator[Database]:
    with TemporaryDirectory(prefix="farm-bench-") as folder:
        db = Database.url(cluster.database(f"growth{tasks}")) if cluster else Database.file(Path(folder) / "farm.db")
        try:
            migrate(db, folder)
            yield db
        finally:
            db.close()


class _Spent:
    """Seconds of wall time and of CPU, of this thread and of the database server, for each act."""

    def __init__(self, server: int | None) -> None:
        self._server = [server] if server else []
        self._wall: dict[str, float] = {}
        self._cpu: dict[str, float] = {}

    def run(self, queue: BareQueue, tasks: int) -> dict[str, Any]:
        spec, worked = array(tasks), min(tasks, 2 * WORKED)
        job = self._timed("submit", lambda: queue.submit(spec))
        self._work(queue, worked - worked // 2)
        lay(queue.db, job, tasks - worked // 2)
        self._work(queue, worked // 2)
        found: dict[str, Any] = {}
        for name, seconds in self._wall.items():
            each = tasks if name == "submit" else worked
            found[f"{name}_us"] = round(seconds / each * 1e6, 3)
            found[f"{name}_cpu_us"] = round(self._cpu[name] / each * 1e6, 3)
        return found

    def _work(self, queue: BareQueue, tasks: int) -> None:
        while tasks and (works := self._timed("claim", partial(queue.claim, min(BATCH, tasks)))):
            self._timed("finish", partial(queue.finish, works))
            tasks -= len(works)

    def _timed(self, name: str, act: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), self._cpu_s()
        said = act()
        self._wall[name] = self._wall.get(name, 0.0) + time.perf_counter() - wall
        self._cpu[name] = self._cpu.get(name, 0.0) + self._cpu_s() - cpu
        return said

    def _cpu_s(self) -> float:
        return time.thread_time() + meter.cpu_s(self._server)


def array(tasks: int) -> JobSpec:
    step = {"argv": ["true"], "array": {"first": 1, "last": tasks}}
    return JobSpec.model_validate({"name": "array", "owner": "bench", "steps": [step]})


def _through(queue: BareQueue, tasks: int) -> None:
    queue.submit(array(tasks))
    while works := queue.claim(tasks):
        queue.finish(works)
