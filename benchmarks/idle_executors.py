"""Many executors on one machine, idle: how soon all are ready, and what they cost.

    python benchmarks/idle_executors.py [--executors 20] [--slots 2] [--engine ray] [--seconds 20] [--out FILE]

A farm of its own in a temporary home. Memory is PSS: what is shared is divided among those who share it. CPU is in
hundredths of a core, of all executors together, with all of their processes.

With Ray the CPU is Ray's: a raylet takes 0.3, a worker as much (0.8 before it rested between calls, see
`executors.site.rest`). The same agents and keepers on plain processes take 0.05 each: `--engine plain` shows it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

RESULTS = Path(__file__).parent / "results" / "idle-executors.json"
LIMITS = {"ready_s": 30, "pss_mib_each": 80, "cpu_percent_together": 12}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 180.0
SETTLE_S = 5.0
CONFIG = """[site]
engine = "{engine}"
[pools.local]
provider = "local"
slots = {slots}
ceiling = {all}
max_slots = {slots}
floor = {executors}
"""


def main(words: Sequence[str] | None = None) -> int:
    """Exit 1 when a limit is broken."""
    options = _options(words)
    with tempfile.TemporaryDirectory(prefix="fi", dir="/tmp") as home:
        farm = [sys.executable, "-m", "farm"]
        env = {**os.environ, "FARM_HOME": home}
        shape = {"engine": options.engine, "slots": options.slots, "executors": options.executors}
        (Path(home) / "farm.toml").write_text(CONFIG.format(all=options.executors * options.slots, **shape))
        try:
            subprocess.run([*farm, "up"], env=env, check=True, stdout=subprocess.DEVNULL)
            found = shape | measure(lambda *args: _json([*farm, *args], env), options.executors, options.seconds)
        finally:
            subprocess.run([*farm, "down"], env=env, check=True, stdout=subprocess.DEVNULL)
    found |= {"limits": LIMITS, "fine": all(found[name] <= most for name, most in LIMITS.items())}
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["fine"] else 1


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="what many idle executors cost")
    parser.add_argument("--executors", type=int, default=20)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--engine", default="ray", choices=("ray", "plain"))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(words)


def _json(command: Sequence[str], env: Mapping[str, str]) -> Any:
    return json.loads(subprocess.run([*command, "--json"], env=env, check=True, stdout=subprocess.PIPE).stdout)


def measure(ask: Callable[..., Any], executors: int, seconds: float) -> dict[str, Any]:
    began, pause = time.monotonic(), Event()
    while sum(one["state"] == "ready" for one in ask("executors")["executors"]) < executors:
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"not {executors} executors after {PATIENCE_S:g} s")
        pause.wait(0.2)
    ready_s = time.monotonic() - began
    pause.wait(SETTLE_S)
    trees = executor_trees(ask("status")["processes"])
    before = spent(trees)
    pause.wait(seconds)
    used = {name: 100 * (after - before.get(name, 0)) / seconds for name, after in spent(trees).items()}
    sizes = [sum(map(pss_mib, tree)) for tree in trees.values()]
    return {
        "ready_s": round(ready_s, 1),
        "pss_mib_each": round(statistics.median(sizes), 1),
        "pss_mib_most": round(max(sizes), 1),
        "cpu_percent_together": round(sum(used.values()), 1),
        "cpu_percent_of": {name: round(percent, 1) for name, percent in used.items()},
        "pss_mib_of": parts(trees),
    }


def executor_trees(processes: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Executor → its process and all below, what nobody lists too."""
    roots = {one["executor"]: one["pid"] for one in processes if one["role"] == "executor"}
    return {name: [pid, *_below(pid)] for name, pid in roots.items()}


def _below(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except OSError:
        return []
    return found + [deeper for child in found for deeper in _below(child)]


def spent(trees: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Name of a process → seconds of CPU of all of that name."""
    sums: dict[str, float] = {}
    for pid in (pid for tree in trees.values() for pid in tree):
        name = _name(pid)
        sums[name] = sums.get(name, 0) + _ticks(pid) * TICK_S
    return sums


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def pss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def parts(trees: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Name of a process → MiB of PSS of all of that name, per executor."""
    sums: dict[str, float] = {}
    for tree in trees.values():
        for pid in tree:
            name = _name(pid)
            sums[name] = sums.get(name, 0) + pss_mib(pid) / len(trees)
    return {name: round(mib, 1) for name, mib in sorted(sums.items(), key=lambda item: -item[1])}


if __name__ == "__main__":
    sys.exit(main())
