"""One array of a million tasks: what submitting, looking, claiming and cancelling cost at that depth."""

import statistics
import time

from farm.bench.alone_farm import AloneFarm, answered
from farm.bench.bare_queue import BareQueue
from farm.bench.figures import Figures, p99
from farm.bench.laid import lay
from farm.clock import SystemClock

FEW = 1_000
BATCH = 10  # tasks of one claim: of 1,000 there are a hundred
REPORT = 200  # ends of one report
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
    "cancel_waiting_s": 1,
    "cancel_half_done_s": 1,
}


def depth(farm: AloneFarm, found: Figures, tasks: int, finish: int, runs: int) -> None:
    """`finish` of the array's `tasks` are brought to their end, half of them laid down as if they had been."""
    queue = BareQueue(farm.db, SystemClock())
    _array(farm, 2)
    queue.finish(queue.claim(2))  # statements are compiled once
    _submits(farm, found, tasks, runs)
    shallow = [_claims(farm, queue, _array(farm, FEW)) for _ in range(runs)]
    job = _array(farm, tasks)
    deep = [_claims(farm, queue, 0) for _ in range(runs)]
    for few, many in zip(shallow, deep, strict=True):
        found.add(claim_p50_ms=many[0], claim_p99_ms=many[1], claim_cpu_ms=many[2])
        found.add(claim_shallow_p99_ms=few[1], claim_deep_to_shallow=many[0] / few[0])
    _finished(farm, found, queue, finish, runs)
    lay(farm.db, job, tasks // 2)
    _looks(farm, found, job, runs)
    found.add(rss_mib=farm.most_rss_mib)
    found.add(cancel_half_done_s=_cancel(farm, job))


def _submits(farm: AloneFarm, found: Figures, tasks: int, runs: int) -> None:
    """Whole arrays come, and are cancelled before anything of them began."""
    for _ in range(runs):
        bytes_, cpu, begin = farm.bytes, farm.cpu_s, time.perf_counter()
        job = _array(farm, tasks)
        found.add(array_submit_s=time.perf_counter() - begin, array_submit_cpu_s=farm.cpu_s - cpu)
        found.add(waiting_bytes_per_task=max(0, farm.bytes - bytes_) / tasks)
        found.add(cancel_waiting_s=_cancel(farm, job))


def _array(farm: AloneFarm, tasks: int) -> int:
    step = {"argv": ["true"], "array": {"first": 1, "last": tasks}}
    said, _ = answered(farm.client, "/v1/jobs", {"name": "array", "owner": "bench", "steps": [step]})
    return int(said["id"])


def _cancel(farm: AloneFarm, job: int) -> float:
    return answered(farm.client, f"/v1/jobs/{job}/cancel", {})[1]


def _claims(farm: AloneFarm, queue: BareQueue, _job: int) -> tuple[float, float, float]:
    """Milliseconds of a claim that is on disk when it returns: half of them take no longer; 99 of 100; CPU of each."""
    walls, works = [], []
    cpu = time.thread_time() + farm.server_cpu_s
    for _ in range(FEW // BATCH):
        wall = time.perf_counter()
        works += queue.claim(BATCH)
        walls.append(time.perf_counter() - wall)
    cpu = time.thread_time() + farm.server_cpu_s - cpu
    queue.finish(works)
    return statistics.median(walls) * 1e3, p99(walls) * 1e3, cpu / len(walls) * 1e3


def _finished(farm: AloneFarm, found: Figures, queue: BareQueue, tasks: int, runs: int) -> None:
    """Claimed and ended; bytes that a task leaves in the database for good."""
    reports = max(1, tasks // runs // REPORT)
    for _ in range(runs):
        bytes_, cpu, begin = farm.bytes, time.thread_time() + farm.server_cpu_s, time.perf_counter()
        for _ in range(reports):
            queue.finish(queue.claim(REPORT))
        ended = reports * REPORT
        found.add(task_us=(time.perf_counter() - begin) / ended * 1e6)
        found.add(task_cpu_us=(time.thread_time() + farm.server_cpu_s - cpu) / ended * 1e6)
        found.add(finished_bytes_per_task=(farm.bytes - bytes_) / ended)


def _looks(farm: AloneFarm, found: Figures, job: int, runs: int) -> None:
    """By the command line, its own start with it."""
    for _ in range(runs + 2):
        found.add(
            jobs_s=farm.command("jobs"), show_s=farm.command("show", str(job)), why_s=farm.command("why", str(job))
        )
