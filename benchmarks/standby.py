"""How soon who stands by hands out work: the leader of a farm is stopped, killed and frozen under 50 running tasks.

    python -m benchmarks.standby [--repeat 3] [--results benchmarks/results/standby.json]

On SQLite, and on a PostgreSQL of its own; one line of JSON: seconds from the signal to the first task that the next
leader hands out. Each run also checks that no task ran twice and that nothing was bought again.
"""

import argparse
import json
import os
import signal
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.relay import relay
from tests.postgres import Postgres

STRIKES = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL, "frozen": signal.SIGSTOP}
PROMISED = {"stopped": 1.0, "killed": 10.0, "frozen": 10.0}
RUNNING = 50


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.standby", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args(words)
    with server() as postgres:
        seconds = {
            "sqlite": summary([once("") for _ in range(options.repeat)]),
            "postgresql": summary([once(postgres.url(postgres.fresh())) for _ in range(options.repeat)]),
        }
    text = json.dumps({"cores": len(os.sched_getaffinity(0)), "running": RUNNING, "seconds": seconds})
    sys.stdout.write(text + "\n")
    if options.results:
        options.results.write_text(text + "\n")
    return 0


def once(url: str) -> dict[str, float]:
    """One farm, struck once in each way. Raises AssertionError when a task ran twice or something was bought again."""
    with relay(url, RUNNING) as farm:
        farm.begin()
        bought = farm.executors()
        farm.stand_by(farm.shell, len(STRIKES))
        took = {name: farm.strike(how) for name, how in STRIKES.items()}
        assert farm.executors() == bought
        farm.finish()
    return took


def summary(runs: Sequence[dict[str, float]]) -> dict[str, dict[str, float | bool]]:
    """Median, least and most, and whether all kept what is promised."""
    by_name = defaultdict(list)
    for run in runs:
        for name, seconds in run.items():
            by_name[name].append(seconds)
    return {
        name: {
            "median": round(statistics.median(found), 2),
            "least": round(min(found), 2),
            "most": round(max(found), 2),
            "promised": PROMISED[name],
            "kept": max(found) <= PROMISED[name],
        }
        for name, found in by_name.items()
    }


@contextmanager
def server() -> Iterator[Postgres]:
    """Durable, as anybody's."""
    made = Postgres("shared_buffers=32MB")
    made.start()
    try:
        yield made
    finally:
        made.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
