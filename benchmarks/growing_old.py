"""A week of work in a farm's database: `python -m benchmarks.growing_old`.

Day after day a part of the tasks goes through the queue's own functions (submit, claim, finish; each a transaction on
disk), the others are laid down as if they had; jobs that ended are forgotten after some days by a second thread beside
it, as a farm does. Says of each day what claims and ends took, how large the database and its log of writes (WAL)
became, and at the end whether the books hold. `--scale 1` is 500,000 tasks a day, `--worked` how many of a day's tasks
are worked off. `--postgresql` takes a PostgreSQL that it starts, `--database URL` an empty database instead of a file.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from farm.bench.bare_queue import BareQueue
from farm.bench.cluster import cluster
from farm.bench.figures import p99
from farm.bench.laid import lay
from farm.clock import TurnedClock
from farm.db import Database, migrate
from farm.forgetting import Forgotten, forget
from farm.integrity import look
from farm.model import JobSpec

A_DAY = 500_000  # tasks
BATCH = 50  # of a claim, and of a report
ARRAYS = 10  # a day; besides them every fiftieth task is a job of its own
BOOKS = ("counters", "states", "attempts", "pages")
_PG = "SELECT sum(n_dead_tup) AS dead, sum(autovacuum_count) AS vacuums FROM pg_stat_user_tables"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.2, help="part of 500,000 tasks a day")
    parser.add_argument("--worked", type=int, default=3000, help="tasks of a day that are not laid down")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--keep", type=int, default=3, help="days after which jobs are forgotten")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL that is started for it")
    parser.add_argument("--results", type=Path, help="a file for the numbers, as JSON")
    options = parser.parse_args(words)
    a_day = max(BATCH, int(A_DAY * options.scale))
    with ExitStack() as stack:
        url = stack.enter_context(cluster()).database("old") if options.postgresql else options.database
        database, files = stack.enter_context(place(url))
        told = grown(database, files, a_day, min(a_day, options.worked), options.days, options.keep)
    worked = {"worked_a_day": min(a_day, options.worked), "database": "postgresql" if url else "sqlite"}
    told = {"machine": about(), "scale": options.scale, "keep_days": options.keep, **worked, **told}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    if options.results:
        options.results.write_text(json.dumps(told, indent=2) + "\n")


def about() -> dict[str, Any]:
    return {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "kernel": platform.release()}


@contextmanager
def place(url: str | None) -> Iterator[tuple[Database, Path | None]]:
    """The database, and the folder that it is in, if it is a file."""
    with tempfile.TemporaryDirectory(prefix="farm-old-") as folder:
        database = Database.url(url) if url else Database.file(Path(folder) / "farm.db")
        try:
            migrate(database, url or folder)
            yield database, None if url else Path(folder)
        finally:
            database.close()


@dataclass
class Day:
    """What each call took, in milliseconds of wall time and of this thread's processor time."""

    claims: list[float] = field(default_factory=list)
    claims_cpu: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    wal_mib: float = 0.0

    def told(self) -> dict[str, Any]:
        return {
            "claim_ms": round(statistics.median(self.claims), 3),
            "claim_p99_ms": round(p99(self.claims), 3),
            "claim_cpu_ms": round(statistics.median(self.claims_cpu), 3),
            "finish_ms": round(statistics.median(self.ends), 3),
            "wal_most_mib": round(self.wal_mib, 1),
        }


def grown(database: Database, files: Path | None, a_day: int, worked: int, days: int, keep: int) -> dict[str, Any]:
    clock = TurnedClock()
    queue = BareQueue(database, clock)
    day(queue, files, BATCH * 2)  # statements are compiled once
    out = []
    for n in range(days):
        old = Aside(lambda: forget(database, clock.now() - timedelta(days=keep)))
        laid(queue, a_day - worked)
        spent = day(queue, files, worked)
        gone, forgetting_s = old.wait()
        clock.turn(86400)
        found = {"day": n + 1, "tasks": a_day, **spent.told(), **size(database, files)}
        out.append(found | {"forgotten_tasks": gone.tasks, "forgetting_s": round(forgetting_s, 2)})
    wrong = [finding.what for finding in look(database) if finding.rule in BOOKS]
    ratio = out[-1]["claim_cpu_ms"] / out[0]["claim_cpu_ms"]
    return {"days": out, "last_to_first": round(ratio, 3), "books": wrong}


class Aside:
    """Forgets in a thread of its own."""

    def __init__(self, act: Callable[[], Forgotten]) -> None:
        self._found: list[tuple[Forgotten, float]] = []
        self._thread = threading.Thread(target=lambda: self._run(act))
        self._thread.start()

    def _run(self, act: Callable[[], Forgotten]) -> None:
        began = time.perf_counter()
        self._found.append((act(), time.perf_counter() - began))

    def wait(self) -> tuple[Forgotten, float]:
        """Raises RuntimeError if it failed."""
        self._thread.join()
        if not self._found:
            raise RuntimeError("forgetting failed; see above")
        return self._found[0]


def laid(queue: BareQueue, tasks: int) -> None:
    """Arrays of so many tasks, done: the first task and the last go through the queue, which ends the job."""
    for n in range(ARRAYS if tasks >= ARRAYS * 3 else 0):
        size = tasks // ARRAYS
        number = queue.submit(job(f"o{n % 4}", size))
        queue.finish(queue.claim(1))
        lay(queue.db, number, size - 1)
        queue.finish(queue.claim(1))


def day(queue: BareQueue, files: Path | None, tasks: int) -> Day:
    """Submit them all, then work them off."""
    single = tasks // 50
    for n in range(ARRAYS):
        queue.submit(job(f"o{n % 4}", (tasks - single) // ARRAYS))
    for n in range(tasks - (tasks - single) // ARRAYS * ARRAYS):
        queue.submit(job(f"o{n % 7}", 1))
    spent = Day()
    while works := clocked(lambda: queue.claim(BATCH), spent.claims, spent.claims_cpu):
        clocked(lambda found=works: queue.finish(found), spent.ends, [])
        spent.wal_mib = max(spent.wal_mib, mib(files, "farm.db-wal"))
    return spent


def job(owner: str, tasks: int) -> JobSpec:
    step = {"argv": ["true"], "array": {"first": 1, "last": tasks}} if tasks > 1 else {"argv": ["true"]}
    return JobSpec.model_validate({"name": "work", "owner": owner, "steps": [step]})


def clocked(act: Callable[[], Any], wall_ms: list[float], cpu_ms: list[float]) -> Any:
    wall, cpu = time.perf_counter(), time.thread_time()
    found = act()
    wall_ms.append((time.perf_counter() - wall) * 1e3)
    cpu_ms.append((time.thread_time() - cpu) * 1e3)
    return found


def size(database: Database, files: Path | None) -> dict[str, Any]:
    if files:
        return {"database_mib": round(mib(files, "farm.db"), 1), "wal_after_mib": round(mib(files, "farm.db-wal"), 1)}
    with database.read() as tx:
        row = tx.execute(text(_PG)).one()
        whole = tx.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return {"database_mib": round(whole / 2**20, 1), "dead_rows": int(row.dead or 0), "vacuums": int(row.vacuums or 0)}


def mib(files: Path | None, name: str) -> float:
    return (files / name).stat().st_size / 2**20 if files else 0.0


if __name__ == "__main__":
    main()
