"""Many jobs in one request, and a large graph in another; what its dependants cost when they are let go."""

import random
import time
from typing import Any

from farm.bench.alone_farm import AloneFarm, answered
from farm.bench.bare_queue import BareQueue
from farm.clock import SystemClock

BACK = 500  # an item comes after some of so many before it
SEED = 6
LIMITS = {"many_submit_s": 1, "graph_submit_s": 10, "release_ms": 1}


def many(farm: AloneFarm, jobs: int) -> dict[str, Any]:
    body = {
        "job": {"name": "one", "owner": "many", "steps": [{"argv": ["echo"]}]},
        "commands": [[str(n)] for n in range(jobs)],
    }
    _, took = answered(farm.client, "/v1/jobs/many", body)
    return {"many_jobs": jobs, "many_submit_s": round(took, 3), "many_per_second": round(jobs / took)}


def graph(farm: AloneFarm, items: int, edges: int) -> dict[str, Any]:
    """All of it is run, so that every edge is let go once."""
    step = {"items": graph_items(items, edges)}
    _, took = answered(farm.client, "/v1/jobs", {"name": "graph", "owner": "graph", "lane": "bulk", "steps": [step]})
    queue, ended, cpu, begin = BareQueue(farm.db, SystemClock()), 0, 0.0, time.perf_counter()
    while works := queue.claim(100):
        mine = [work for work in works if "graph" in work.argv]
        before = time.thread_time()
        queue.finish(works)
        cpu, ended = cpu + time.thread_time() - before, ended + len(mine)
        if ended >= items:
            break
    return {
        "graph_items": items,
        "graph_edges": edges,
        "graph_submit_s": round(took, 3),
        "graph_run_s": round(time.perf_counter() - begin, 2),
        "release_ms": round(cpu / edges * 1e3, 3),
    }


def graph_items(items: int, edges: int) -> list[dict[str, Any]]:
    """The first have nothing before them, the others as many as it takes, all different."""
    dice, out, left = random.Random(SEED), [], edges
    for n in range(items):
        share = -(-left // (items - n))
        before = dice.sample(range(max(0, n - BACK), n), min(n, share, BACK))
        left -= len(before)
        out.append({"name": f"i{n}", "argv": ["graph"], "after": [f"i{b}" for b in before]})
    return out
