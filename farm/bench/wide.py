"""Many executors with short tasks: how long a decision takes, and how much of a core the scheduler needs."""

import statistics
import threading
import time
from typing import Any

from executors.site.channel import Channel
from executors.site.conversation import Conversation
from farm.bench.alone_farm import AloneFarm, answered
from farm.bench.fake_site import FakeSite
from farm.bench.figures import p99
from farm.home import SITE
from farm.refusal import Unavailable

EXECUTORS = 200
TASK_S = 0.2  # a thousand ends a second
WARM_S = 4.0  # after that the durations are known and every slot has work waiting
JOIN_S = 60.0
LIMITS = {"decision_p99_ms": 10, "scheduler_percent_per_1000_ends": 50}


def wide(farm: AloneFarm, seconds: float) -> dict[str, Any]:
    """`farm` has 200 executors."""
    site, died = FakeSite(TASK_S), threading.Event()

    def connect(wait_s: float) -> Channel:
        return Channel(str(farm.home.socket), farm.home.token_file, SITE, wait_s)

    talk = Conversation(site, connect, lambda: None, died.set)
    talk.start()
    try:
        _all_ready(farm)
        step = {"argv": ["true"], "array": {"first": 1, "last": 1_000_000}}
        answered(farm.client, "/v1/jobs", {"name": "wide", "owner": "bench", "steps": [step]})
        died.wait(WARM_S)
        return _watched(farm, site, seconds, died)
    finally:
        talk.close()


def _all_ready(farm: AloneFarm) -> None:
    until, pause = time.monotonic() + JOIN_S, threading.Event()
    while time.monotonic() < until:
        if farm.client.get("/v1/status")["executors"].get("ready", 0) >= EXECUTORS:
            return
        pause.wait(0.1)
    raise Unavailable(f"{EXECUTORS} executors did not become ready within {JOIN_S:.0f} s")


def _watched(farm: AloneFarm, site: FakeSite, seconds: float, died: threading.Event) -> dict[str, Any]:
    ended, cpu, begin, known = site.ended, farm.cpu_s, time.monotonic(), len(farm.decisions())
    if died.wait(seconds):
        raise Unavailable("the conversation with the service has ended")
    took = time.monotonic() - begin
    ends, used = (site.ended - ended) / took, (farm.cpu_s - cpu) / took
    found = farm.decisions()[known:]
    decisions, cpus = [one.wall_s * 1e3 for one in found], [one.cpu_s * 1e3 for one in found]
    if not decisions or not ends:
        raise Unavailable("nothing was handed out", remedy="try `farm doctor`")
    return {
        "executors": EXECUTORS,
        "ends_per_second": round(ends),
        "decisions": len(decisions),
        "decision_p50_ms": round(statistics.median(decisions), 2),
        "decision_p99_ms": round(p99(decisions), 2),
        "decision_cpu_p99_ms": round(p99(cpus), 2),
        "decision_tasks": round(statistics.mean(one.tasks for one in found)),
        "scheduler_percent": round(used * 100, 1),
        "scheduler_percent_per_1000_ends": round(used * 100 / ends * 1000, 1),
    }
