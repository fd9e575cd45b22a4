"""`make faults SEEDS=n`: runs of 200 tasks under faults, each made from its seed alone.

python -m tests.chaos.campaign --seeds 20            fresh seeds, printed
python -m tests.chaos.campaign --seed 1234           one of them again
python -m tests.chaos.campaign --database postgresql --seed 1234
"""

# ruff: noqa: T201 - a program that tells what it does

import argparse
import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from farm.client import connect
from farm.database_url import only_in_home
from farm.integrity import look
from farm.refusal import Refusal
from farm.store import open_store
from tests.chaos.adoption import numbers
from tests.chaos.base import Base
from tests.chaos.caller import Caller
from tests.chaos.faults import Fault, plan
from tests.chaos.ground import Ground, until
from tests.chaos.results import add
from tests.chaos.server import Server
from tests.chaos.terrain import choose_terrain
from tests.chaos.work import TASKS, Work

IDLE_S = 120.0  # without any progress
LOOK_S = 0.2  # at all jobs: the farm has to answer that
_SURPRISES = ("the wheel stumbled; it turns again", "Exception in ASGI application", "the watch on the database ended")
LINES = 2 * (TASKS - 7)  # about as many as the tasks write: two each, but renders and builds write none


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    engine: str
    terrain: str
    faults: list[str]
    database: str = "sqlite"
    seconds: float = 0
    attempts: int = 0
    twice: int = 0  # tasks that began more than once
    refused: int = 0  # results that came too late and were kept as evidence
    acknowledged: int = 0  # jobs that were submitted while a fault lasted
    findings: list[str] = field(default_factory=list)


DATABASES = ("sqlite", "postgresql")


def run(seed: int, database: str = "sqlite", keep: bool = False) -> Outcome:
    """One farm, 200 tasks, some faults; then everything is looked at."""
    choose = random.Random(seed)
    engine = "ray" if seed % 2 else "plain"
    terrain = choose_terrain(choose)
    base = Server(choose) if database == "postgresql" else Base()
    faults = plan(choose, engine, terrain, base, LINES)
    outcome = Outcome(seed, engine, terrain.name, [str(f) for f in faults], database)
    folder = Path(tempfile.mkdtemp(prefix="fc-"))
    began = time.monotonic()
    with contextlib.ExitStack() as after:
        after.callback(_drop, folder, outcome, keep)
        after.callback(terrain.clear, folder)
        env = terrain.prepare(folder)
        after.callback(base.clear)
        base.start()
        slots = choose.randint(2, 3 if engine == "ray" else 4)
        ground = Ground(folder / "home", engine, slots, env, base=base)
        after.callback(_keep, ground, outcome)
        after.callback(ground.clear)
        outcome.findings += _story(ground, Work(folder, seed, terrain.delicate, terrain.logs), faults, outcome)
        outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _drop(folder: Path, outcome: Outcome, keep: bool) -> None:
    if not (keep or outcome.findings):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"  kept: {folder}", flush=True)


def _keep(ground: Ground, outcome: Outcome) -> None:
    """What a mounted home would take with it."""
    if outcome.findings:
        folder = ground.home.path.parent
        for name in ("service.log", "gateway.log"):
            with contextlib.suppress(OSError):
                shutil.copy(ground.home.path / name, folder)
        ground.base.keep(ground.home, folder)


def _story(ground: Ground, work: Work, faults: list[Fault], outcome: Outcome) -> list[str]:
    try:
        ground.up()
        os.sync()  # our own farm.toml, which we may not find again on a disk that dies
        with connect(ground.home) as client:
            work.submit(client, ground.shell)
        _suffer(ground, work, faults)
        _finish(ground, work)
        found = truth(ground, work, outcome)
        ground.down()
    except (AssertionError, Refusal, OSError, subprocess.SubprocessError, SQLAlchemyError, psycopg.Error) as error:
        return [str(error), *_state(ground)]
    return found + [f"left: {one}" for one in ground.leftovers()] + checked(ground) + surprised(ground)


def _suffer(ground: Ground, work: Work, faults: list[Fault]) -> None:
    ground.spared = work.fragile
    late = len(faults) // 2
    for number, fault in enumerate(faults):
        _reach(work, fault.after)
        with Caller(ground, work):
            fault.act(ground)
        if number == late:
            work.submit_late(ground.shell)


def _reach(work: Work, lines: int) -> None:
    """Wait until so many lines are written, or nothing more comes: then the fault comes now."""
    last = [work.count(), time.monotonic()]

    def there() -> bool:
        count = work.count()
        if count != last[0]:
            last[:] = [count, time.monotonic()]
        return count >= lines or time.monotonic() - last[1] > IDLE_S

    until(there, 600, f"{lines} lines are written")


def _finish(ground: Ground, work: Work) -> None:
    def over() -> bool:
        jobs = (ground.get("/v1/jobs?limit=1000") or {"jobs": []})["jobs"]
        return len(jobs) >= len(work.jobs) and all(j["state"] in ("done", "failed", "cancelled") for j in jobs)

    until(over, IDLE_S, "all jobs have ended", LOOK_S)


def _state(ground: Ground) -> list[str]:
    """What the farm says of itself when it is stuck."""
    shown = [ground.get(path) for path in ("/v1/status", "/v1/jobs", "/v1/executors")]
    return [json.dumps(one)[:3000] for one in shown]


def _called(work: Work, jobs: Any) -> Iterator[str]:
    """What became of jobs that were submitted while a fault lasted."""
    there = [(name, job) for name, job in jobs if name.startswith("call-")]
    for name, job in work.acknowledged.items():
        if (name, job) not in there:
            yield f"job {job}, {name}, was acknowledged and is lost"
    for name, number in Counter(name for name, _ in there).items():
        if number > 1:
            yield f"{name} was submitted once and is there {number} times"
    yield from work.wrong


def truth(ground: Ground, work: Work, outcome: Outcome) -> list[str]:
    """What the database says against what the tasks themselves have written down."""
    began, ended = work.wrote()
    found = [f"attempt {a} began {n} times" for a, n in began.items() if n > 1]
    db = ground.base.connect(ground.home)
    with db.read() as tx:
        tasks = tx.exec_driver_sql(
            "SELECT t.job, t.number, t.state, t.accepted, t.attempts, j.kind, t.cause, t.message, a.message "
            "FROM task t JOIN job j ON j.id = t.job LEFT JOIN attempt a "
            "ON a.job = t.job AND a.number = t.number AND a.ordinal = t.accepted"
        ).all()
        jobs = [(row.name, row.id) for row in tx.exec_driver_sql("SELECT id, name FROM job")]
        outcome.attempts = tx.exec_driver_sql("SELECT COUNT(*) FROM attempt").scalar_one()
        outcome.refused = tx.exec_driver_sql("SELECT COUNT(*) FROM refused").scalar_one()
    db.close()
    found += _called(work, jobs)
    outcome.acknowledged = len(work.acknowledged)
    called = sum(name.startswith("call-") for name, _ in jobs)
    if len(tasks) != TASKS + called:
        found.append(f"{len(tasks)} tasks instead of {TASKS + called}")
    for job, number, state, accepted, _, kind, cause, message, _ in tasks:
        name = f"{job}.{number}"
        if state != "done":
            found.append(f"task {name} is {state}: {cause} {message}")
        elif kind == "command" and (began[f"{name}.{accepted}"], ended[f"{name}.{accepted}"]) != (1, 1):
            found.append(f"task {name}: its accepted attempt {accepted} did not run once from beginning to end")
    runs = Counter(a.rpartition(".")[0] for a in began)
    outcome.twice = sum(n > 1 for n in runs.values())
    return found + (_logs(ground, tasks) if work.logs else [])


def _logs(ground: Ground, tasks: Any) -> list[str]:
    """The log of each command is whole, or the attempt says that its disk was full."""
    found = []
    with connect(ground.home) as client:
        for job, number, state, accepted, _, kind, _, _, said_of_it in tasks:
            if kind == "command" and state == "done" and "of output are missing" not in said_of_it:
                said = client.log(f"{job}.{number}.{accepted}").data.decode(errors="replace")
                if said != f"log of {job}.{number}.{accepted}\n":
                    found.append(f"the log of {job}.{number}.{accepted} is {said!r}")
    return found


def surprised(ground: Ground) -> list[str]:
    """What the service says of itself in its log when something has happened that it does not know."""
    lines = (ground.home.path / "service.log").read_text(errors="replace").splitlines()
    known = _SURPRISES if ground.base.in_home else (*_SURPRISES, "the database has refused")
    return [f"service.log: {line}" for line in lines if line.endswith(known)][:5]


def checked(ground: Ground) -> list[str]:
    """What `farm database check --files` finds."""
    has = open_store(ground.home.store).has
    with closing(ground.base.connect(ground.home)) as db:
        return [f"{one.rule}: {one.what}" for one in look(db, has)]


def main(words: list[str] | None = None) -> int:
    only_in_home()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many fresh seeds")
    parser.add_argument("--seed", type=int, action="append", default=[], help="this seed (may be repeated)")
    parser.add_argument("--database", choices=DATABASES, default="sqlite", help="what the farms stand on")
    parser.add_argument("--results", type=Path, help="add the outcomes to this record")
    parser.add_argument("--numbers", action="store_true", help="measure recovery too, for the record")
    parser.add_argument("--keep", action="store_true", help="keep the homes")
    options = parser.parse_args(words)
    seeds = options.seed or [secrets.randbelow(10**9) for _ in range(options.seeds)]
    bad = 0
    for seed in seeds:
        outcome = run(seed, options.database, options.keep)
        bad += bool(outcome.findings)
        tell(outcome)
        if options.results:
            add(options.results, [asdict(outcome)])
    if options.results and options.numbers:
        add(options.results, [], numbers())
    return 1 if bad else 0


def tell(outcome: Outcome) -> None:
    print(
        f"seed {outcome.seed}: {'BAD' if outcome.findings else 'fine'}, {outcome.database}, {outcome.engine}, "
        f"{outcome.terrain}, {outcome.seconds} s, {outcome.attempts} attempts, {outcome.twice} ran again, "
        f"{outcome.refused} refused, {outcome.acknowledged} acknowledged in a fault; "
        f"{'; '.join(outcome.faults)}",
        flush=True,
    )
    for finding in outcome.findings[:20]:
        print(f"  {finding}", flush=True)
    if outcome.findings:
        print(f"  again: {again(outcome)}", flush=True)


def again(outcome: Outcome) -> str:
    return f".venv/bin/python -m tests.chaos.campaign --database {outcome.database} --seed {outcome.seed}"


if __name__ == "__main__":
    sys.exit(main())
