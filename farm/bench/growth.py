"""What submitting, claiming and finishing cost a task, from a hundred tasks to a million."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from farm.bench.bare_queue import BareQueue
from farm.clock import SystemClock
from farm.db import Database, migrate
from farm.model import JobSpec

BATCH = 200  # tasks of a claim, and ends of a report


def growth(most: int) -> list[dict[str, Any]]:
    """For 100, 1,000 … `most` tasks of one array; the queue's own functions on a database of its own."""
    sizes = [10**power for power in range(2, 9) if 10**power <= most]
    return [_of(size) for size in sizes]


def _of(tasks: int) -> dict[str, Any]:
    with TemporaryDirectory(prefix="farm-bench-") as folder:
        db = Database.file(Path(folder) / "farm.db")
        migrate(db, folder)
        queue = BareQueue(db, SystemClock())
        try:
            return {"tasks": tasks, **_run(queue, tasks)}
        finally:
            db.close()


def _run(queue: BareQueue, tasks: int) -> dict[str, Any]:
    _through(queue, 10)  # statements are compiled once
    step = {"argv": ["true"], "array": {"first": 1, "last": tasks}}
    spec = JobSpec.model_validate({"name": "array", "owner": "bench", "steps": [step]})
    spent = {"submit": [0.0, 0.0], "claim": [0.0, 0.0], "finish": [0.0, 0.0]}
    _clocked(spent["submit"], lambda: queue.submit(spec))
    while works := _clocked(spent["claim"], lambda: queue.claim(BATCH)):
        _clocked(spent["finish"], partial(queue.finish, works))
    found: dict[str, Any] = {}
    for name, (wall, cpu) in spent.items():
        found |= {f"{name}_us": round(wall / tasks * 1e6, 3), f"{name}_cpu_us": round(cpu / tasks * 1e6, 3)}
    return found


def _through(queue: BareQueue, tasks: int) -> None:
    step = {"argv": ["true"], "array": {"first": 1, "last": tasks}}
    queue.submit(JobSpec.model_validate({"name": "array", "owner": "bench", "steps": [step]}))
    while works := queue.claim(tasks):
        queue.finish(works)


def _clocked(spent: list[float], act: Callable[[], Any]) -> Any:
    wall, cpu = time.perf_counter(), time.thread_time()
    said = act()
    spent[0] += time.perf_counter() - wall
    spent[1] += time.thread_time() - cpu
    return said
