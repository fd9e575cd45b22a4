"""Many jobs in one request, and a large graph in another; what its dependants cost when they are let go."""

import random
import time
from collections import Counter
from typing import Any

from farm.bench.alone_farm import AloneFarm, answered
from farm.bench.bare_queue import BareQueue
from farm.bench.figures import Figures
from farm.clock import SystemClock

BACK = 500  # an item comes after some of so many before it
SEED = 6
BATCH = 100  # tasks of a claim, and of a report
LIMITS = {"many_submit_s": 1, "graph_submit_s": 10, "release_ms": 1}


def many(farm: AloneFarm, found: Figures, jobs: int, runs: int) -> None:
    body = {
        "job": {"name": "one", "owner": "many", "steps": [{"argv": ["echo"]}]},
        "commands": [[str(n)] for n in range(jobs)],
    }
    for _ in range(runs):
        cpu = farm.cpu_s
        _, took = answered(farm.client, "/v1/jobs/many", body)
        found.add(many_submit_s=took, many_cpu_s=farm.cpu_s - cpu, many_per_second=jobs / took)


def graph(farm: AloneFarm, found: Figures, items: int, edges: int, runs: int) -> None:
    """The last one is run, so that each of its edges is let go once."""
    made = graph_items(items, edges)
    body = {"name": "graph", "owner": "graph", "lane": "bulk", "steps": [{"items": made}]}
    job = 0
    for left in reversed(range(runs)):
        cpu = farm.cpu_s
        said, took = answered(farm.client, "/v1/jobs", body)
        found.add(graph_submit_s=took, graph_cpu_s=farm.cpu_s - cpu)
        job = int(said["id"])
        if left:
            answered(farm.client, f"/v1/jobs/{job}/cancel", {})
    found.add(rss_burst_mib=farm.most_rss_mib)
    _worked_off(farm, found, made, runs)


def _worked_off(farm: AloneFarm, found: Figures, items: list[dict[str, Any]], runs: int) -> None:
    """Ends of tasks with all that they let go, in milliseconds for each edge; a run is a part of the graph."""
    behind = Counter(before for item in items for before in item["after"])
    queue, spent, cpu, edges, ended = BareQueue(farm.db, SystemClock()), 0.0, 0.0, 0, 0
    part = -(-len(items) // runs)
    while works := queue.claim(BATCH):
        begin, used = time.perf_counter(), time.thread_time() + farm.server_cpu_s
        queue.finish(works)
        spent += time.perf_counter() - begin
        cpu += time.thread_time() + farm.server_cpu_s - used
        edges += sum(behind[work.argv[1]] for work in works)
        ended += len(works)
        if ended >= part:
            found.add(release_ms=spent / max(1, edges) * 1e3, release_cpu_ms=cpu / max(1, edges) * 1e3)
            spent, cpu, edges, ended = 0.0, 0.0, 0, 0
    if edges:
        found.add(release_ms=spent / edges * 1e3, release_cpu_ms=cpu / edges * 1e3)


def graph_items(items: int, edges: int) -> list[dict[str, Any]]:
    """The first have nothing before them, the others as many as it takes, all different."""
    dice, out, left = random.Random(SEED), [], edges
    for n in range(items):
        share = -(-left // (items - n))
        before = dice.sample(range(max(0, n - BACK), n), min(n, share, BACK))
        left -= len(before)
        out.append({"name": f"i{n}", "argv": ["graph", f"i{n}"], "after": [f"i{b}" for b in before]})
    return out
