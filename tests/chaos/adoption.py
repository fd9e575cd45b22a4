"""A part of the farm dies while 50 and more tasks run: how soon things move again, and that nothing runs twice.

python -m tests.chaos.adoption        prints the numbers as JSON
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from farm.client import connect
from farm.integrity import examine
from tests.chaos.ground import Ground, below, until

Numbers = dict[str, float]


class Crowd:
    """Many tasks at once on two wide executors, one slot of which stays free for a probe."""

    def __init__(self, ground: Ground, size: int, seconds: float) -> None:
        self.ground, self.size, self.seconds = ground, size, seconds
        self.file = ground.home.path.parent / "effects"
        self.file.touch()

    def start(self) -> None:
        self.job = self.submit(self.size, self.seconds)
        until(lambda: self.begun() >= self.size, 90, f"{self.size} tasks run")

    def submit(self, tasks: int, seconds: float) -> int:
        script = 'echo "B $FARM_TASK" >> "$0"; echo begin; sleep "$1"; echo end; echo "E $FARM_TASK" >> "$0"'
        argv = ["sh", "-c", script, str(self.file), str(seconds)]
        step = {"name": "main", "argv": argv, "array": {"first": 1, "last": tasks, "step": 1}}
        with connect(self.ground.home) as client:
            return int(client.post("/v1/jobs", {"name": "crowd", "owner": "x", "steps": [step]})["id"])

    def words(self, kind: str) -> Counter[str]:
        lines = [line.split() for line in self.file.read_text().splitlines()]
        return Counter(task for said, task in lines if said == kind)

    def begun(self) -> int:
        return self.words("B").total()

    def probe(self) -> None:
        """A task of a new job starts: queue, service, gateway and executor all work."""
        job = self.submit(1, 0)
        until(lambda: f"{job}.1" in self.words("B"), 60, "a new task starts")

    def finish(self) -> None:
        """Every task of the crowd is done, ran once, and its log is whole."""
        until(lambda: self.state() == "done", 60 + self.seconds, "all are done")
        ran = {task: n for task, n in self.words("B").items() if task.startswith(f"{self.job}.")}
        assert len(ran) == self.size
        assert set(ran.values()) == {1}, ran
        with connect(self.ground.home) as client:
            for task in ran:
                assert client.log(task).data == b"begin\nend\n", task

    def state(self) -> str:
        return str((self.ground.get(f"/v1/jobs/{self.job}") or {}).get("state"))


@contextmanager
def crowded(engine: str, size: int, seconds: float, more: str = "") -> Iterator[tuple[Ground, Crowd]]:
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        ground = Ground(Path(folder, "home"), engine, size + 2, {}, f"slots = {size // 2 + 1}\n{more}")
        try:
            ground.up()
            crowd = Crowd(ground, size, seconds)
            crowd.start()
            yield ground, crowd
            ground.down()
            assert ground.leftovers() == []
            assert list(examine(ground.home.database)) == []
        finally:
            ground.kill_all()


def killed(engine: str, role: str, size: int = 50, seconds: float = 8) -> float:
    """Kill one process of this role; seconds until a new task starts. Raises AssertionError when a task ran again."""
    with crowded(engine, size, seconds) as (ground, crowd):
        victim = until(lambda: ground.of(role), 30, f"there is a {role}")[0]
        began = time.monotonic()
        victim.signal(signal.SIGKILL)
        victim.wait(10)
        if role == "service":
            ground.up()
        crowd.probe()
        took = time.monotonic() - began
        crowd.finish()
    return took


def away(engine: str, seconds: float, lease_s: float) -> tuple[int, int]:
    """The service is away for so long; tasks that ran again, tasks in all. Each is accepted once, whatever happens."""
    with crowded(engine, 10, 3, f'[site]\nengine = "{engine}"\nlease = {lease_s}\n') as (ground, crowd):
        for service in ground.of("service"):
            service.signal(signal.SIGKILL)
            service.wait(10)
        until(lambda: crowd.words("E").total() >= crowd.size or seconds > lease_s, 30, "all end meanwhile")
        executors = [p for p in ground.all() if b"site.executor" in Path(f"/proc/{p.pid}/cmdline").read_bytes()]
        if seconds > lease_s:
            until(lambda: not any(p.alive() for p in executors), lease_s + 30, "executors end themselves")
            for file in ground.home.pools.glob("*/executors/*/ended"):
                file.write_text(str(time.time_ns() - 3600 * 10**9))  # an hour ago
        ground.up()
        until(lambda: crowd.state() == "done", 90, "all are done")
        ran = crowd.words("B")
    return sum(n > 1 for n in ran.values()), len(ran)


def frozen(engine: str) -> float:
    """All processes of an executor stop; seconds until another one is ready in its place."""
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        ground = Ground(Path(folder, "home"), engine, 2)
        try:
            ground.up()
            crowd = Crowd(ground, 12, 3)  # more than one executor does before the other is missed
            crowd.job = crowd.submit(12, 3)
            until(lambda: len(ground.ready()) == 2, 60, "two executors are ready")
            victim = until(lambda: ground.of("executor"), 30, "it is named")[0]
            tree = [victim, *below(victim)]
            before = set(ground.ready())
            for process in tree:
                process.signal(signal.SIGSTOP)
            began = time.monotonic()
            until(lambda: set(ground.ready()) - before, 60, "another executor is ready")
            took = time.monotonic() - began
            until(lambda: crowd.state() == "done", 60, "its task ran elsewhere")
            until(lambda: not any(process.alive() for process in tree), 60, "the frozen one was ended")
            ground.down()
            assert ground.leftovers() == []
        finally:
            ground.kill_all()
    return took


def numbers() -> dict[str, Any]:
    """What the results file holds beside the seeds; seconds."""
    out: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    measures: dict[str, Callable[[str], float]] = {
        "frozen executor → another is ready": frozen,
        "service killed, farm up, new task starts (100 running)": lambda e: killed(e, "service", 100, 15),
        "gateway killed → new task starts (50 running)": lambda e: killed(e, "gateway"),
    }
    for name, measure in measures.items():
        out[name] = {engine: round(measure(engine), 2) for engine in ("plain", "ray")}
    for role in ("gcs", "head-raylet"):
        out[f"{role} killed → new task starts (50 running)"] = {"ray": round(killed("ray", role), 2)}
    return out


if __name__ == "__main__":
    json.dump(numbers(), sys.stdout, indent=2, ensure_ascii=False)
