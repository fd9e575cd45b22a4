"""Many executors with short tasks: how long a decision takes, and how much of a core the scheduler needs."""

import statistics
import threading
import time

from executors.site.channel import Channel
from executors.site.conversation import Conversation
from farm.bench.alone_farm import AloneFarm, answered
from farm.bench.fake_site import FakeSite
from farm.bench.figures import Figures, p99
from farm.home import SITE
from farm.refusal import Unavailable

EXECUTORS = 200
TASK_S = 0.2  # a thousand ends a second
WARM_S = 4.0  # after that the durations are known and every slot has work waiting
JOIN_S = 60.0
LIMITS = {"decision_p99_ms": 10, "scheduler_percent_per_1000_ends": 50}


def wide(farm: AloneFarm, found: Figures, seconds: float, runs: int) -> None:
    """`farm` has 200 executors; they are watched `runs` times for so long."""
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
        for _ in range(runs):
            _watch(farm, found, site, seconds, died)
    finally:
        talk.close()


def _all_ready(farm: AloneFarm) -> None:
    until, pause = time.monotonic() + JOIN_S, threading.Event()
    while time.monotonic() < until:
        if farm.client.get("/v1/status")["executors"].get("ready", 0) >= EXECUTORS:
            return
        pause.wait(0.1)
    raise Unavailable(f"{EXECUTORS} executors did not become ready within {JOIN_S:.0f} s")


def _watch(farm: AloneFarm, found: Figures, site: FakeSite, seconds: float, died: threading.Event) -> None:
    ended, cpu, begin, known = site.ended, farm.service_cpu_s, time.monotonic(), len(farm.decisions())
    if died.wait(seconds):
        raise Unavailable("the conversation with the service has ended")
    took = time.monotonic() - begin
    ends, used = (site.ended - ended) / took, (farm.service_cpu_s - cpu) / took
    made = farm.decisions()[known:]
    decisions, cpus = [one.wall_s * 1e3 for one in made], [one.cpu_s * 1e3 for one in made]
    if not decisions or not ends:
        raise Unavailable("nothing was handed out", remedy="try `farm doctor`")
    found.add(decision_p50_ms=statistics.median(decisions), decision_p99_ms=p99(decisions))
    found.add(decision_cpu_p99_ms=p99(cpus), decision_tasks=statistics.mean(one.tasks for one in made))
    found.add(ends_per_second=ends, scheduler_percent=used * 100)
    found.add(scheduler_percent_per_1000_ends=used * 100 / ends * 1000)
