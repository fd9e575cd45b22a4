"""A part of the farm dies while 50 and more tasks run: how soon things move again, and that nothing runs twice.

python -m tests.chaos.adoption        prints the numbers as JSON
"""

import fcntl
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
    """Many tasks at once on two wide executors, one slot of which stays free for a probe. They wait to be released."""

    def __init__(self, ground: Ground, size: int) -> None:
        self.ground, self.size = ground, size
        self.file = ground.home.path.parent / "effects"
        self.file.touch()
        self.free = self.file.with_name("free")
        self.gate = self.file.with_name("gate")
        self.free.touch()
        self.held = self.gate.open("w")
        fcntl.flock(self.held, fcntl.LOCK_EX)

    def release(self) -> None:
        """Those that wait go on, and those that come later do not wait."""
        self.held.close()

    def start(self) -> None:
        self.job = self.submit(self.size, self.gate)
        until(lambda: self.begun() >= self.size, 90, f"{self.size} tasks run")

    def submit(self, tasks: int, gate: Path) -> int:
        script = 'echo "B $FARM_TASK" >> "$0"; echo begin; flock -s "$1" true; echo end; echo "E $FARM_TASK" >> "$0"'
        argv = ["sh", "-c", script, str(self.file), str(gate)]
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
        job = self.submit(1, self.free)
        until(lambda: f"{job}.1" in self.words("B"), 60, "a new task starts")

    def finish(self) -> None:
        """Every task of the crowd is done, ran once, and its log is whole."""
        self.release()
        until(lambda: self.state() == "done", 60, "all are done")
        ran = {task: n for task, n in self.words("B").items() if task.startswith(f"{self.job}.")}
        assert len(ran) == self.size
        assert set(ran.values()) == {1}, ran
        with connect(self.ground.home) as client:
            for task in ran:
                assert client.log(task).data == b"begin\nend\n", task

    def state(self) -> str:
        return str((self.ground.get(f"/v1/jobs/{self.job}") or {}).get("state"))


@contextmanager
def crowded(engine: str, size: int, more: str = "") -> Iterator[tuple[Ground, Crowd]]:
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        ground = Ground(Path(folder, "home"), engine, size + 2, {}, f"slots = {size // 2 + 1}\n{more}")
        try:
            ground.up()
            crowd = Crowd(ground, size)
            crowd.start()
            yield ground, crowd
            ground.down()
            assert ground.leftovers() == []
            assert list(examine(ground.home.database)) == []
        finally:
            ground.clear()


def killed(engine: str, role: str, size: int = 50) -> float:
    """Kill one process of this role; seconds until a new task starts. Raises AssertionError when a task ran again."""
    with crowded(engine, size) as (ground, crowd):
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


def away(engine: str, lease_s: float, ending: bool, over: bool) -> tuple[int, int]:
    """The service is away: with `ending` until all have ended, with `over` until the lease has. Tasks that ran again,
    tasks in all. Each is accepted once, whatever happens."""
    with crowded(engine, 10, f'[site]\nengine = "{engine}"\nlease = {lease_s}\n') as (ground, crowd):
        for service in ground.of("service"):
            service.signal(signal.SIGKILL)
            service.wait(10)
        if ending:
            crowd.release()
            until(lambda: crowd.words("E").total() >= crowd.size, 30, "all end meanwhile")
        executors = [p for p in ground.all() if b"site.executor" in Path(f"/proc/{p.pid}/cmdline").read_bytes()]
        if over:
            until(lambda: not any(p.alive() for p in executors), lease_s + 30, "executors end themselves")
            for file in ground.home.pools.glob("*/executors/*/ended"):
                file.write_text(str(time.time_ns() - 3600 * 10**9))  # an hour ago
        ground.up()
        crowd.release()
        until(lambda: crowd.state() == "done", 90, "all are done")
        ran = crowd.words("B")
    return sum(n > 1 for n in ran.values()), len(ran)


def frozen(engine: str) -> float:
    """All processes of an executor stop; seconds until another one is ready in its place."""
    with tempfile.TemporaryDirectory(prefix="fa-") as folder:
        ground = Ground(Path(folder, "home"), engine, 2)
        try:
            ground.up()
            crowd = Crowd(ground, 4)  # more than one executor does before the other is missed
            crowd.job = crowd.submit(4, crowd.gate)
            until(lambda: len(ground.ready()) == 2, 60, "two executors are ready")
            victim = until(lambda: ground.of("executor"), 30, "it is named")[0]
            tree = [victim, *below(victim)]
            before = set(ground.ready())
            for process in tree:
                process.signal(signal.SIGSTOP)
            began = time.monotonic()
            until(lambda: set(ground.ready()) - before, 60, "another executor is ready")
            took = time.monotonic() - began
            crowd.release()
            until(lambda: crowd.state() == "done", 60, "its task ran elsewhere")
            until(lambda: not any(process.alive() for process in tree), 60, "the frozen one was ended")
            ground.down()
            assert ground.leftovers() == []
        finally:
            ground.clear()
    return took


def numbers() -> dict[str, Any]:
    """What the results file holds beside the seeds; seconds."""
    out: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    measures: dict[str, Callable[[str], float]] = {
        "frozen executor → another is ready": frozen,
        "service killed, farm up, new task starts (100 running)": lambda e: killed(e, "service", 100),
        "gateway killed → new task starts (50 running)": lambda e: killed(e, "gateway"),
    }
    for name, measure in measures.items():
        out[name] = {engine: round(measure(engine), 2) for engine in ("plain", "ray")}
    for role in ("gcs", "head-raylet"):
        out[f"{role} killed → new task starts (50 running)"] = {"ray": round(killed("ray", role), 2)}
    return out


if __name__ == "__main__":
    json.dump(numbers(), sys.stdout, indent=2, ensure_ascii=False)
