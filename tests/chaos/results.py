"""The record of the runs: one JSON file that grows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KILL, FREEZE = "kill ", "freeze "


def add(file: Path, outcomes: Sequence[Mapping[str, Any]], numbers: Mapping[str, Any] | None = None) -> None:
    """Add runs and numbers to the record, and sum it up anew."""
    before = json.loads(file.read_text()) if file.exists() else {}
    runs = [*before.get("runs", ()), *outcomes]
    record = {"summary": summary(runs), "numbers_s": numbers or before.get("numbers_s", {}), "runs": runs}
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join("    " + json.dumps(run, ensure_ascii=False) for run in runs)
    head = json.dumps({k: v for k, v in record.items() if k != "runs"}, indent=2, ensure_ascii=False)
    file.write_text(f'{head[:-2]},\n  "runs": [\n{lines}\n  ]\n}}\n')


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    faults = [fault for run in runs for fault in run["faults"]]
    bad = {_seed(run) for run in runs if run["findings"]}
    last = {_seed(run): run for run in runs}
    return {
        "runs": len(runs),
        "seeds": len(last),
        "tasks": sum(run.get("tasks", 200) for run in runs),
        "attempts": sum(run["attempts"] for run in runs),
        "tasks that ran again": sum(run["twice"] for run in runs),
        "late results refused": sum(run["refused"] for run in runs),
        "seeds that found something": sorted(bad, key=_order),
        "of these still": sorted((seed for seed in bad if last[seed]["findings"]), key=_order),
        **({"kinds": kinds} if (kinds := _kinds(runs)) else _databases(last)),
        "engines": dict(Counter(run["engine"] for run in runs)),
        "terrains": dict(Counter(run["terrain"] for run in runs)),
        "killed": _roles(faults, KILL),
        "frozen": _roles(faults, FREEZE),
        "other faults": dict(Counter(_kind(f) for f in faults if not f.startswith((KILL, FREEZE)) or "," in f)),
    }


def _seed(run: Mapping[str, Any]) -> int | str:
    """As it is told to have the run again."""
    database = run.get("database", "sqlite")
    return int(run["seed"]) if database == "sqlite" else f"{database}:{run['seed']}"


def _order(seed: int | str) -> tuple[bool, int | str]:
    return isinstance(seed, str), seed


def _databases(last: Mapping[int | str, Mapping[str, Any]]) -> dict[str, Any]:
    """How many seeds of each, and jobs that were acknowledged in the middle of a fault."""
    seeds = Counter(run.get("database", "sqlite") for run in last.values())
    acknowledged = sum(run.get("acknowledged", 0) for run in last.values())
    return {"seeds on": dict(seeds), "jobs acknowledged in a fault": acknowledged}


def _kinds(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """How many runs of each kind of machine, how many of them found something, and their seconds."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        if "kind" in run:
            kind = found.setdefault(run["kind"], {"runs": 0, "found something": 0, "seconds": 0})
            kind["runs"] += 1
            kind["found something"] += bool(run["findings"])
            kind["seconds"] = round(kind["seconds"] + run["seconds"], 1)
    return found


def _roles(faults: Sequence[str], verb: str) -> dict[str, int]:
    found = Counter(_kind(f).removeprefix(verb) for f in faults if f.startswith(verb) and "," not in f)
    return dict(sorted(found.items()))


def _kind(fault: str) -> str:
    """Without when and how long."""
    words = fault.rpartition(" at ")[0].split()
    return " ".join(word for word in words if not any(c.isdigit() for c in word) and word not in ("s", "times"))
