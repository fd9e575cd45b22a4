"""`true` as a task, through the farm and through others, each beside a bare spawn loop in the same run.

    python -m benchmarks.peers [--tasks 1000] [--runs 3] [--only make,xargs,…] [--out FILE]

Nothing is installed on the machine: packages of the registries (Debian's by apt, Python's by pip, Go's modules) go into
a temporary folder. What can't be had, or fails, is in the results with what it said. Two tasks at once but where it
says how many. Ratios are to the loop that ran before and after the peer, medians of the runs with the least and the
most.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import celery, gearman, here, river
from farm.cli.bench import bare

RESULTS = Path(__file__).parents[1] / "results" / "peers.json"
Peer = Callable[[Path, int], float]
"""Takes a folder of its own and how many tasks; tasks a second from a full queue to the last end, start-up left out."""

PEERS: Mapping[str, tuple[str, Peer]] = {
    "farm": ("yes: fsync before every acknowledgement", here.farm),
    "make -j2": ("no", here.make),
    "xargs -P2": ("no", here.xargs),
    "ray, a task for each command": ("no", here.ray),
    "ray, 20 commands in a call to an actor": ("no", here.ray_batches),
    "river, 100 workers": ("yes: PostgreSQL, fsync on", river.many),
    "river, 2 workers": ("yes: PostgreSQL, fsync on", river.few),
    "gearmand, in memory": ("no", gearman.run),
    "celery, redis in memory": ("no", celery.run),
}


def main() -> int:
    options = _options()
    wanted = [name for name in PEERS if not options.only or name.split(",")[0].split(" ")[0] in options.only.split(",")]
    rows = [_row(name, options.tasks, options.runs) for name in wanted]
    told = {
        "tasks": options.tasks,
        "runs": options.runs,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "peers": rows,
    }
    options.out.write_text(json.dumps(told, indent=1) + "\n")
    for row in rows:
        sys.stdout.write(f"{row['peer']:32} {row.get('ratio', row.get('failed'))}\n")
    return 0


def _row(name: str, tasks: int, runs: int) -> dict[str, Any]:
    durable, peer = PEERS[name]
    row: dict[str, Any] = {"peer": name, "durable": durable}
    try:
        with tempfile.TemporaryDirectory(prefix="peer") as folder:
            found = [_once(peer, Path(folder), tasks) for _ in range(runs)]
    except Exception as error:  # whatever it is, it is told
        said = getattr(error, "stderr", None) or str(error)
        return row | {"failed": f"{type(error).__name__}: {said}"[-600:]}
    ratios = [ratio for ratio, _ in found]
    return row | {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_least_most": [round(min(ratios), 3), round(max(ratios), 3)],
        "per_second": round(statistics.median(rate for _, rate in found), 1),
    }


def _once(peer: Peer, folder: Path, tasks: int) -> tuple[float, float]:
    before = bare(tasks)
    rate = peer(folder, tasks)
    return rate / ((before + bare(tasks)) / 2), rate


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="first words of names, with commas")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
