"""All that `farm bench queue` measures, on each database."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from farm.bench import burst, depth, wide
from farm.bench.alone_farm import alone
from farm.bench.cluster import Cluster, cluster
from farm.bench.figures import Figures, over
from farm.bench.growth import growth
from farm.refusal import Unavailable

LIMITS = {**depth.LIMITS, **burst.LIMITS, **wide.LIMITS}
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; see farm.cli.bench_queue."""

    tasks: int
    finish: int
    jobs: int
    items: int
    seconds: float
    growth: int
    runs: int


def whole(sizes: Sizes, kinds: Sequence[str], say: Say) -> dict[str, Any]:
    """`databases`: kind → number → median, least, most, runs; or why it could not be measured."""
    load, databases, curves = os.getloadavg()[0], {}, {}
    for kind in kinds:
        try:
            with _server(kind) as server:
                databases[kind] = _of(sizes, kind, server, say)
                curves[kind] = growth(sizes.growth, server) if sizes.growth else []
        except Unavailable as error:
            databases[kind] = {"failed": str(error)}
    about = {"cores": len(os.sched_getaffinity(0)), "load_before": round(load, 1), "kernel": platform.release()}
    above = [f"{kind} {name}" for kind, found in databases.items() for name in over(found, LIMITS)]
    machine = {**about, "load_after": round(os.getloadavg()[0], 1), "python": platform.python_version()}
    return {"machine": machine, "databases": databases, "growth": curves, "limits": LIMITS, "over": above}


@contextmanager
def _server(kind: str) -> Iterator[Cluster | None]:
    if kind == "sqlite":
        yield None
        return
    with cluster() as found:
        yield found


def _of(sizes: Sizes, kind: str, server: Cluster | None, say: Say) -> dict[str, Any]:
    found = Figures()
    say(f"{kind}: an array of {sizes.tasks:,} tasks")
    with alone(cluster=server) as farm:
        depth.depth(farm, found, sizes.tasks, sizes.finish, sizes.runs)
    say(f"{kind}: {sizes.jobs:,} jobs in one request")
    with alone(cluster=server) as farm:
        burst.many(farm, found, sizes.jobs, sizes.runs)
    say(f"{kind}: a graph of {sizes.items:,} items")
    with alone(cluster=server) as farm:
        burst.graph(farm, found, sizes.items, sizes.items * 10, sizes.runs)
    say(f"{kind}: {wide.EXECUTORS} executors")
    with alone(wide.EXECUTORS, server) as farm:
        wide.wide(farm, found, sizes.seconds, sizes.runs)
    return found.told()
