"""From an acknowledged submit to the start of its task: asked of the leader, and of one that serves beside it.

    python -m benchmarks.beside [--rounds 5] [--jobs 40] [--json FILE]

On SQLite, and with FARM_DATABASE_URL naming an empty database there. Each round asks both in turn; a slot is free.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from farm import roll
from farm.client import Client, at_socket
from farm.home import Home

SETTINGS = '[site]\nengine = "plain"\n[pools.local]\nslots = 2\nceiling = 2\nidle = "10m"\n'
ENDED = ("done", "failed", "cancelled")


def farm(home: Path, *words: str) -> None:
    argv = [sys.executable, "-m", "farm", *words, "--home", str(home)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def one(client: Client) -> tuple[float, float]:
    """Milliseconds until a submit is acknowledged, and from its row to the start of its task."""
    step = {"name": "main", "argv": ["true"]}
    began = time.perf_counter()
    job = client.submit("/v1/jobs", {"name": "one", "owner": "bench", "steps": [step]})["id"]
    acknowledged = time.perf_counter() - began
    while client.get(f"/v1/jobs/{job}/wait", timeout=20, seen=0, tasks=False)["state"] not in ENDED:
        continue
    submitted = datetime.fromisoformat(client.get(f"/v1/jobs/{job}")["submitted"])
    started = datetime.fromisoformat(client.get(f"/v1/tasks/{job}.1")["attempts"][0]["started"])
    return acknowledged * 1000, (started - submitted).total_seconds() * 1000


def told(found: list[tuple[float, float]]) -> dict[str, float]:
    """Medians and the 99th percentile, in milliseconds."""
    acknowledged, started = ([pair[n] for pair in found] for n in (0, 1))
    p99 = statistics.quantiles(started, n=100)[98]
    return {
        "acknowledged_ms": round(statistics.median(acknowledged), 2),
        "started_ms": round(statistics.median(started), 2),
        "started_p99_ms": round(p99, 2),
    }


def measure(home: Path, rounds: int, jobs: int) -> Mapping[str, Any]:
    place = Home(home)
    ways = {"leader": place.socket, "beside": roll.living(place)[0][0]}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, path in ways.items():
            with at_socket(place, path) as client:
                one(client)
                found[name] += [one(client) for _ in range(jobs)]
    return {name: told(pairs) for name, pairs in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fb-", dir="/tmp") as folder:
        home = Path(folder)
        (home / "farm.toml").write_text(SETTINGS)
        farm(home, "up")
        try:
            farm(home, "up", "--api")
            result = measure(home, given.rounds, given.jobs)
        finally:
            farm(home, "down", "--terminate")
    text = json.dumps(
        {"database": "postgresql" if os.environ.get("FARM_DATABASE_URL") else "sqlite", **result}, indent=2
    )
    sys.stdout.write(text + "\n")
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
