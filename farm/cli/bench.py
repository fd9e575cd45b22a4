"""`farm bench dispatch`: `true` through queue, database, executors and back, beside a bare loop on the same machine."""

import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli.options import JsonOption
from farm.cli.output import emit, facts
from farm.client import Client, connect
from farm.database_url import only_in_home
from farm.home import Home
from farm.refusal import Unavailable

IN_FLIGHT = 2
PAUSE_S = 0.5
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ENDED = ("done", "failed", "cancelled")


class Engine(StrEnum):
    RAY = "ray"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Run:
    """One array through the farm: tasks a second, and CPU of the farm's own processes by role in ms per task."""

    per_second: float
    cpu_ms: Mapping[str, float]


def dispatch(
    tasks: Annotated[int, typer.Option(min=10, help="How many `true` tasks make one run.")] = 5000,
    runs: Annotated[int, typer.Option(min=1, help="How many runs; medians are printed.")] = 3,
    singles: Annotated[int, typer.Option(min=0, help="Single submits, for the time from submit to start.")] = 50,
    engine: Annotated[Engine, typer.Option(help="What runs the tasks.")] = Engine.RAY,
    json: JsonOption = False,
) -> int:
    """A farm of its own in a temporary home, two slots, everything durable. ratio = per_second / bare_per_second; the
    bare loop is one process that keeps two children in flight, measured before and after. CPU is that of the farm's
    processes without the tasks, together and by role. start_… is from the acknowledged submit to the started process, a
    slot being free; submit_to_start_… from the request."""
    with tempfile.TemporaryDirectory(prefix="farm-bench-") as folder:
        before = bare(tasks)
        found = _measure(Home(Path(folder)), tasks, runs, singles, engine)
        found = {**_ratio(found["per_second"], before, bare(tasks)), **found}
    if json:
        emit(found)
    else:
        facts(found.items())
    return 0


def bare(tasks: int) -> float:
    """Processes a second of the simplest loop there is."""
    path = shutil.which("true") or "/bin/true"
    begin, started, running = time.perf_counter(), 0, 0
    while started < tasks or running:
        while started < tasks and running < IN_FLIGHT:
            os.posix_spawn(path, ["true"], {})
            started, running = started + 1, running + 1
        os.wait()
        running -= 1
    return tasks / (time.perf_counter() - begin)


def _ratio(per_second: float, before: float, after: float) -> dict[str, Any]:
    loop = (before + after) / 2
    return {"ratio": round(per_second / loop, 3), "bare_per_second": round(loop, 1)}


def _measure(home: Home, tasks: int, runs: int, singles: int, engine: Engine) -> dict[str, Any]:
    from farm.cli.service import start, stop

    only_in_home()
    home.make()
    home.config_file.write_text(_SETTINGS.format(engine=engine.value))
    start(home)
    try:
        with connect(home) as client:
            _warm(client)
            seen = [_array(client, tasks) for _ in range(runs)]
            waits = [_single(client) for _ in range(singles)]
    finally:
        stop(home, drain=False)
        shutil.rmtree(home.run, ignore_errors=True)
    return {**_summary(seen, waits), "tasks": tasks, "runs": runs, "engine": engine.value}


_SETTINGS = """[site]
engine = "{engine}"
[pools.local]
provider = "local"
floor = 2
ceiling = 2
"""


def _summary(seen: Sequence[Run], waits: Sequence[tuple[float, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "per_second": round(statistics.median(run.per_second for run in seen), 1),
        "cpu_ms_per_task": round(statistics.median(sum(run.cpu_ms.values()) for run in seen), 3),
    }
    for role in sorted({role for run in seen for role in run.cpu_ms}):
        found[f"cpu_ms_{role}"] = round(statistics.median(run.cpu_ms.get(role, 0.0) for run in seen), 4)
    for name, column in (("start", 0), ("submit_to_start", 1)) if waits else ():
        ranked = sorted(wait[column] for wait in waits)
        found[f"{name}_p50_ms"] = round(statistics.median(ranked) * 1000, 1)
        found[f"{name}_p99_ms"] = round(ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))] * 1000, 1)
    return found


def _warm(client: Client) -> None:
    """Until both executors are ready, and something went through each kind of process once."""
    pause = threading.Event()
    for _ in range(600):
        states = [one["state"] for one in client.get("/v1/executors")["executors"]]
        if states.count("ready") >= IN_FLIGHT:
            _array(client, IN_FLIGHT)
            break
        pause.wait(0.1)
    else:
        raise Unavailable(f"the executors did not become ready: {', '.join(states)}", remedy="try `farm doctor`")
    for _ in range(100):  # what a process used before it was told of would count as used by the first run
        roles = [one["role"] for one in client.get("/v1/status")["processes"]]
        if roles.count("keeper") >= IN_FLIGHT:
            return
        pause.wait(0.1)
    raise Unavailable("the keepers are not told of", remedy="try `farm doctor`")


def _array(client: Client, tasks: int) -> Run:
    """One array job, from the first start to the last end."""
    cpu = _cpu(client)
    number = _submit(client, {"array": {"first": 1, "last": tasks}})
    job = _ended(client, number, PAUSE_S)
    used = _cpu(client)
    spent: dict[str, float] = {}
    for (role, pid), seconds in used.items():
        spent[role] = spent.get(role, 0.0) + (seconds - cpu.get((role, pid), 0.0)) / tasks * 1000
    took = (_time(job["finished"]) - _time(job["started"])).total_seconds()
    return Run(tasks / took, spent)


def _submit(client: Client, more: dict[str, Any]) -> int:
    step = {"argv": ["true"], **more}
    return int(
        client.post("/v1/jobs", {"name": "true", "owner": "bench", "lane": "interactive", "steps": [step]})["id"]
    )


def _ended(client: Client, number: int, pause_s: float = 0) -> Any:
    """The job, once it has ended. `pause_s` between two looks: who looks at every change has a part in what is
    measured."""
    seen, pause = 0, threading.Event()
    while True:
        job = client.get(f"/v1/jobs/{number}/wait", timeout=20, seen=seen, tasks="false")
        if job["state"] in ENDED:
            break
        seen = job["seen"]
        pause.wait(pause_s)
    if job["state"] != "done":
        raise Unavailable(f"the measured job {job['state']}: {job['why']}", remedy="try `farm doctor`")
    return job


def _single(client: Client) -> tuple[float, float]:
    """Seconds to the start of the process: from the acknowledgement (0 when it came later), from the request."""
    sent = time.time()
    number = _submit(client, {})
    acknowledged = time.time()
    _ended(client, number)
    started = _time(client.get(f"/v1/tasks/{number}.1")["attempts"][0]["started"]).timestamp()
    return max(0.0, started - acknowledged), started - sent


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _cpu(client: Client) -> dict[tuple[str, int], float]:
    """CPU seconds so far of each process of the farm, by role and pid, its tasks left out."""
    processes = client.get("/v1/status")["processes"]
    known = {(one["role"], one["pid"]) for one in processes if one["role"] != "task"}
    return {one: used for one in known if (used := _used(one[1])) is not None}


def _used(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) * TICK_S
