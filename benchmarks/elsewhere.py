"""Executors elsewhere, of each kind: how soon they are there, how soon they begin, what they cost, and ten at once.

    python -m benchmarks.elsewhere [--kind static ec2 kubernetes vmclone] [--repeat 3] [--results FILE]

As root, on the machines of the tests (tests/machines): a farm with Ray, its executors behind a router, in a cluster, in
clones. `ready_s` is from the start of the executor's own process (a pod's container, a clone's keeper) until the farm
has it as ready, `ordered_to_ready_s` from the farm's order; medians of --repeat, one at a time. `start_p50_ms` is from
the request to submit until the task's process starts, on an executor that waits. What an idle one costs is counted over
all its processes: memory as PSS, which divides what is shared, and CPU in hundredths of a core. Then ten at once, each
of which runs a task. Exit status 1 when a limit is broken or a kind does not work.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

from executors.site.proc import descendants, fair_memory
from farm.client import Client, connect
from farm.home import Home
from tests.contract.yard import eventually, tickets
from tests.machines.desks.desk import Desk
from tests.machines.desks.kinds import desk

KINDS = ("static", "ec2", "kubernetes", "vmclone")
READY_S = {"static": 5.0, "ec2": 5.0, "kubernetes": 10.0, "vmclone": 1.0}
COSTS = {"start_p50_ms": 100, "idle_pss_mib": 220, "idle_cpu_percent": 5}  # of those with a connection of their own
OUTBOUND = ("static", "ec2", "kubernetes")
TEN, SINGLES, SETTLE_S, IDLE_S = 10, 15, 3.0, 6.0
PATIENCE_S = 300.0  # of a machine that has other things to do as well
ENDED = ("done", "failed", "cancelled")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--results", type=Path, help="a file for the numbers, as JSON")
    options = parser.parse_args(words)
    told: dict[str, Any] = {"machine": about(), "repeat": options.repeat, "kinds": {}}
    for kind in options.kind:
        told["kinds"][kind] = tried(kind, options.repeat)
        sys.stdout.write(f"{kind} {json.dumps(told['kinds'][kind])}\n")
        sys.stdout.flush()
        if options.results:
            options.results.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(found["fine"] for found in told["kinds"].values()) else 1


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%T')} {text}\n")


def about() -> dict[str, Any]:
    return {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "kernel": platform.release()}


def tried(kind: str, repeat: int) -> dict[str, Any]:
    """The numbers of a kind; why there are none, where it does not work: the others are measured all the same."""
    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="fb-", dir="/tmp") as folder,
            desk(kind, Path(folder), ceiling=TEN) as farm,
        ):
            found = measured(farm, repeat)
        broken = too_much(kind, found)
    except Exception as error:
        traceback.print_exc()
        found, broken = {"error": str(error)[:2000]}, ["error"]
    return {**found, "took_s": round(time.monotonic() - began), "too_much": broken, "fine": not broken}


def too_much(kind: str, found: dict[str, Any]) -> list[str]:
    limits = {"ready_s": READY_S[kind], **(COSTS if kind in OUTBOUND else {})}
    return [name for name, most in limits.items() if found[name] > most]


def measured(farm: Desk, repeat: int) -> dict[str, Any]:
    boots = [boot(farm) for _ in range(repeat)]
    say(f"{farm.kind}: {len(boots)} executors came and went; what one costs that waits, and {TEN} at once")
    stay(farm)
    with connect(Home(farm.home)) as client:
        executor = run(client, "true")["executor"]
        starts = [single(client) for _ in range(SINGLES)] if farm.kind in OUTBOUND else []
        return {
            "ready_s": round(statistics.median(one["ready_s"] for one in boots), 2),
            "ready_all_s": [round(one["ready_s"], 2) for one in boots],
            "ordered_to_ready_s": round(statistics.median(one["ordered_s"] for one in boots), 2),
            **dispatch(starts),
            **idle(process(executor)),
            **ten(client),
        }


# ── from nothing to ready ──


def boot(farm: Desk) -> dict[str, float]:
    """One executor from nothing, and back to nothing."""
    with connect(Home(farm.home)) as client:
        name = run(client, "sleep", "0.5")["executor"]
        began = began_at(process(name))
        (one,) = (e for e in client.get("/v1/executors")["executors"] if e["id"] == name)
    farm.until_nothing_is_left()
    ready = seconds(one["ready"])
    say(f"{farm.kind}: ready after {ready - began:.2f} s")
    return {"ready_s": ready - began, "ordered_s": ready - seconds(one["ordered"])}


def process(executor: str) -> int:
    """Its own process, wherever on this host it is."""
    return eventually(lambda: next(processes(executor), 0), PATIENCE_S)


def processes(executor: str) -> Iterator[int]:
    for pid, file in tickets():
        with suppress(OSError, ValueError):
            if json.loads(Path(f"/proc/{pid}/root{file}").read_text())["executor"] == executor:
                yield pid


def began_at(pid: int) -> float:
    """Seconds since the epoch; a program that becomes another one keeps its beginning."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks * TICK_S)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def stay(farm: Desk) -> None:
    """From now on nobody goes for want of work."""
    settings = farm.home / "farm.toml"
    settings.write_text(settings.read_text().replace('idle = "2s"', 'idle = "5m"'))
    farm("down")
    farm("up")


# ── work ──


def submit(client: Client, *argv: str, **more: Any) -> int:
    job = {"name": argv[0], "owner": "bench", "lane": "interactive", "steps": [{"argv": argv, **more}]}
    return int(client.post("/v1/jobs", job)["id"])


def ended(client: Client, job: int) -> Any:
    """The job at its good end."""
    seen, until = 0, time.monotonic() + PATIENCE_S
    while (told := client.get(f"/v1/jobs/{job}/wait", timeout=20, seen=seen, tasks="false"))["state"] not in ENDED:
        seen = told["seen"]
        assert time.monotonic() < until, f"job {job} takes too long: {told['why']}"
    assert told["state"] == "done", f"job {job} {told['state']}: {told['why']}"
    return told


def run(client: Client, *argv: str) -> Any:
    """The task of a job, at its good end."""
    job = submit(client, *argv)
    ended(client, job)
    return client.get(f"/v1/tasks/{job}.1")


def single(client: Client) -> float:
    """Seconds from the request until the process has started."""
    sent = time.time()
    return seconds(run(client, "true")["attempts"][0]["started"]) - sent


def dispatch(starts: Sequence[float]) -> dict[str, float]:
    """Empty where there are none: the clock of an emulated machine is no measure."""
    if not starts:
        return {}
    return {"start_p50_ms": round(statistics.median(starts) * 1000, 1), "start_most_ms": round(max(starts) * 1000, 1)}


# ── what it costs to wait ──


def idle(pid: int) -> dict[str, Any]:
    Event().wait(SETTLE_S)
    before, began = used(pid), time.monotonic()
    Event().wait(IDLE_S)
    spent = used(pid) - before
    return {
        "idle_pss_mib": round(sum(fair_memory(one) for one in (pid, *descendants(pid))) / (1 << 20), 1),
        "idle_cpu_percent": round(100 * spent / (time.monotonic() - began), 1),
    }


def used(pid: int) -> float:
    """CPU seconds of a process and of all below it, those that have ended there too."""
    total = 0
    for one in (pid, *descendants(pid)):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total * TICK_S


# ── ten at once ──


def ten(client: Client) -> dict[str, Any]:
    """As many as there may be, all at work at the same time, each of which runs a task to its end."""
    began = time.monotonic()
    with holding(client):
        eventually(lambda: len(busy(client)) == TEN, PATIENCE_S)
        at_once_s = time.monotonic() - began
    eventually(lambda: not busy(client), PATIENCE_S)
    job = submit(client, "sleep", "2", array={"first": 1, "last": TEN})
    ended(client, job)
    tasks = [client.get(f"/v1/tasks/{job}.{n}") for n in range(1, TEN + 1)]
    used_by = {task["executor"] for task in tasks if task["state"] == "done"}
    assert len(used_by) == TEN, f"only {len(used_by)} of {TEN} executors have run a task"
    return {"ten_s": round(at_once_s, 1), "ten": len(used_by)}


@contextmanager
def holding(client: Client) -> Iterator[None]:
    """So many tasks that each executor there may be is needed."""
    job = submit(client, "sleep", "600", array={"first": 1, "last": TEN})
    try:
        yield
    finally:
        client.post(f"/v1/jobs/{job}/cancel", {})


def busy(client: Client) -> list[str]:
    told: Callable[[], Any] = lambda: client.get("/v1/executors")["executors"]  # noqa: E731
    return [one["id"] for one in told() if one["state"] == "ready" and one["busy"]]


if __name__ == "__main__":
    sys.exit(main())
