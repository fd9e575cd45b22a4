"""One run: made from its seed alone, looked at afterwards."""

import contextlib
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from executors.errors import ProviderError
from farm.client import connect
from farm.refusal import Refusal
from tests.chaos.campaign import checked
from tests.chaos.elsewhere.errand import Errand, ask, progress
from tests.chaos.elsewhere.faults import Fault, Maker, plan, wait
from tests.chaos.elsewhere.scene import Scene
from tests.chaos.ground import until

IDLE_S = 60.0  # without any progress
WORK_S, ZERO_S = 240.0, 240.0
OVER = ("done", "failed", "cancelled")


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    kind: str
    engine: str
    tasks: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0
    attempts: int = 0
    twice: int = 0  # tasks that were begun more than once, but for those that fail once
    refused: int = 0  # results that came too late and were kept as evidence
    terrain: str = "elsewhere"
    findings: list[str] = field(default_factory=list)

    @property
    def lease_s(self) -> float:
        """Of its farm. Beside others its own Ray, or a cluster, takes its time for every word."""
        slow = (self.engine == "ray") + (self.kind == "kubernetes")
        return (8.0, 25.0, 60.0)[slow]


def engine_of(seed: int) -> str:
    """Every fourth round of six has Ray."""
    return "ray" if seed // 6 % 4 == 3 else "plain"


def story(scene: Scene, makers: Sequence[Maker], choose: random.Random, outcome: Outcome) -> None:
    """A farm that is up and has its machines: work, faults, zero again, down; then everything is looked at."""
    errand = Errand(choose, light=outcome.kind == "vmclone")
    try:
        with connect(scene.ground.home) as client:
            errand.submit(client)
        outcome.tasks = errand.tasks
        faults = plan(choose, makers, errand.tasks)
        outcome.faults = [str(fault) for fault in faults]
        _suffer(scene, faults)
        until(lambda: _over(scene), WORK_S, "all jobs have ended")
        until(lambda: not _living(scene) and not scene.desk.left(), ZERO_S, "nothing is left of the executors")
        outcome.findings += _truth(scene, errand, outcome)
    except (AssertionError, Refusal, ProviderError, OSError, subprocess.SubprocessError) as error:
        outcome.findings += [str(error), *_state(scene)]
    finally:
        scene.heal()


def _suffer(scene: Scene, faults: Sequence[Fault]) -> None:
    for fault in faults:
        _reach(scene, fault.after)
        wait(fault.delay)
        fault.act(scene)


def _reach(scene: Scene, tasks: int) -> None:
    """Wait until so many are done, or nothing more comes: then the fault comes now."""
    last = [progress(scene.ground.home.database), time.monotonic()]

    def there() -> bool:
        count = progress(scene.ground.home.database)
        if count != last[0]:
            last[:] = [count, time.monotonic()]
        return count >= tasks or time.monotonic() - last[1] > IDLE_S

    until(there, WORK_S, f"{tasks} tasks are done")


def _over(scene: Scene) -> bool:
    rows = ask(scene.ground.home.database, "SELECT state FROM job")
    return bool(rows) and all(row["state"] in OVER for row in rows)


def _living(scene: Scene) -> bool:
    known = "SELECT COUNT(*) AS n FROM executor WHERE state NOT IN ('gone', 'lost')"
    return any(row["n"] for row in ask(scene.ground.home.database, known))


def _state(scene: Scene) -> list[str]:
    """What the farm says of itself when it is stuck."""
    shown = [scene.ground.get(path) for path in ("/v1/status", "/v1/jobs", "/v1/executors")]
    return [json.dumps(one)[:3000] for one in shown]


def _truth(scene: Scene, errand: Errand, outcome: Outcome) -> list[str]:
    home = scene.ground.home
    with connect(home) as client:
        found = list(errand.findings(home.database, home.store, client, scene.no_room))
    outcome.attempts = ask(home.database, "SELECT COUNT(*) AS n FROM attempt")[0]["n"]
    outcome.refused = ask(home.database, "SELECT COUNT(*) AS n FROM refused")[0]["n"]
    outcome.twice = ask(
        home.database,
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM attempt WHERE started IS NOT NULL AND COALESCE(exit, 0) != 9 "
        "GROUP BY job, number HAVING COUNT(*) > 1)",
    )[0]["n"]
    return found


def looked_at(scene: Scene) -> list[str]:
    """After the farm went down: what is left, and what its database says."""
    left = [f"left: {one}" for one in (*scene.ground.leftovers(), *scene.leftovers())]
    return left + checked(scene.ground)


@contextlib.contextmanager
def folder_for(outcome: Outcome, keep: bool) -> Iterator[Path]:
    """A short one, which stays where something was found."""
    made = Path(tempfile.mkdtemp(prefix="fc-", dir="/tmp"))
    began = time.monotonic()
    try:
        yield made
    finally:
        outcome.seconds = round(time.monotonic() - began, 1)
        if not (keep or outcome.findings):
            shutil.rmtree(made, ignore_errors=True)
