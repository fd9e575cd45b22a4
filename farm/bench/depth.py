"""One array of a million tasks: what submitting, looking, claiming and cancelling cost at that depth."""

import statistics
import time
from typing import Any

from farm.bench.alone_farm import AloneFarm, answered
from farm.bench.bare_queue import BareQueue
from farm.bench.figures import p99
from farm.clock import SystemClock

FEW = 1_000
BATCH = 10  # tasks of one claim: of 1,000 there are a hundred
LOOKS = 5
LIMITS = {
    "array_submit_s": 0.05,
    "waiting_bytes_per_task": 100,
    "finished_bytes_per_task": 1000,
    "rss_mib": 200,
    "claim_p99_ms": 5,
    "claim_deep_to_shallow": 1.5,
    "jobs_s": 0.3,
    "show_s": 0.3,
    "why_s": 0.3,
    "cancel_s": 1,
}


def depth(farm: AloneFarm, tasks: int, finish: int) -> dict[str, Any]:
    """`finish` of the array's `tasks` are brought to their end."""
    queue = BareQueue(farm.db, SystemClock())
    queue.finish(queue.claim(_array(farm, 2)[1]))  # statements are compiled once
    _array(farm, FEW)
    shallow = _claims(queue)
    before = farm.bytes
    took, job = _submitted(farm, tasks)
    waiting = (farm.bytes - before) / tasks / LOOKS
    deep = _claims(queue)
    found = {
        "array_tasks": tasks,
        "array_submit_s": round(took, 4),
        "waiting_bytes_per_task": round(waiting, 3),
        "claim_batch": BATCH,
        "claim_p50_ms": round(deep[0], 2),
        "claim_p99_ms": round(deep[1], 2),
        "claim_cpu_ms": round(deep[2], 2),
        "claim_deep_to_shallow": round(deep[0] / shallow[0], 2),
        "finished_bytes_per_task": _finished(farm, queue, finish),
        "finished_tasks": finish,
        "jobs_s": _looked(farm, "jobs"),
        "show_s": _looked(farm, "show", job),
        "why_s": _looked(farm, "why", job),
        "rss_mib": round(farm.rss_mib, 1),
    }
    changed, took = answered(farm.client, f"/v1/jobs/{job}/cancel", {})
    return found | {"cancel_s": round(took, 3), "cancelled": changed["changed"]}


def _submitted(farm: AloneFarm, tasks: int) -> tuple[float, str]:
    """Seconds of the middle one of some submits, all but the last cancelled again; the last one's job."""
    times = []
    for left in range(LOOKS - 1, -1, -1):
        times.append(_array(farm, tasks)[0])
        job = _newest(farm)
        if left:
            answered(farm.client, f"/v1/jobs/{job}/cancel", {})
    return statistics.median(times), job


def _array(farm: AloneFarm, tasks: int) -> tuple[float, int]:
    """Seconds until it was acknowledged, and how many tasks it has."""
    step = {"argv": ["true"], "array": {"first": 1, "last": tasks}}
    _, took = answered(farm.client, "/v1/jobs", {"name": "array", "owner": "bench", "steps": [step]})
    return took, tasks


def _newest(farm: AloneFarm) -> str:
    return str(farm.client.get("/v1/jobs", limit=1)["jobs"][0]["id"])


def _claims(queue: BareQueue) -> tuple[float, float, float]:
    """Milliseconds of a claim that is on disk when it returns: half of them take no longer; 99 of 100; CPU of half."""
    walls, cpus = [], []
    for _ in range(FEW // BATCH):
        wall, cpu = time.perf_counter(), time.thread_time()
        queue.claim(BATCH)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.thread_time() - cpu)
    return statistics.median(walls) * 1e3, p99(walls) * 1e3, statistics.median(cpus) * 1e3


def _finished(farm: AloneFarm, queue: BareQueue, tasks: int) -> float:
    """Bytes that a task leaves in the database for good."""
    before = farm.bytes
    for _ in range(tasks // 200):
        queue.finish(queue.claim(200))
    return round((farm.bytes - before) / max(1, tasks // 200 * 200), 1)


def _looked(farm: AloneFarm, *words: str) -> float:
    return round(statistics.median(farm.command(*words) for _ in range(LOOKS)), 3)
