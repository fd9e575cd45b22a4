"""What the simulator promises, and whether it is held: on recorded days, if there are any, and on drawn ones.

    python -m benchmarks.simulate [--traces FOLDER] [--only WORD] [--results benchmarks/results/simulate.json]

FOLDER may hold `termux_dev.csv`, `metacentrum_dev.csv` and `mass_rebuild_dev.csv`, or others of these names: columns as
docs/simulate.md has them. One line for each promise: what was asked, what it is, and whether that is enough.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

from farm.simulate.contest import Contest
from farm.simulate.pools import Offer
from farm.simulate.trace import SECOND, Job, read
from schedules.model import Busy, Demand, Executor, Lane, Pool, Reserve, Snapshot, Waiting
from schedules.policy import default
from tests.recorded_days import START, bursts, job, numbered, stream

Result = dict[str, Any]
USUAL = Offer()  # boot 60 s, paid for a minute at least, ceiling 1000
QUICK = replace(USUAL, boot=9 * SECOND)
RESERVE = Reserve(2, 0.0, frozenset({"bulk"}))
PEOPLE = {"human": "interactive", "eva": "interactive", "people": "interactive"}


@dataclass(frozen=True, slots=True)
class Promise:
    """`is_` has to be `most` or less."""

    day: str
    what: str
    most: float
    is_: float

    @property
    def held(self) -> bool:
        return self.is_ <= self.most

    def line(self) -> str:
        sign = "held  " if self.held else "MISSED"
        return f"{sign} {self.day:<12} {self.what:<58} {self.is_:>10.4g}  asked ≤ {self.most:.4g}"


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.simulate", description=__doc__)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--only", default="", help="parts whose name has this word in it")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args(words)
    found = list[Promise]()
    for name, part in parts(options.traces):
        if options.only in name:
            for promise in part:
                found.append(promise)
                sys.stdout.write(promise.line() + "\n")
                sys.stdout.flush()
    if options.results:
        options.results.write_text(json.dumps([asdict(p) | {"held": p.held} for p in found], indent=1) + "\n")
    return 0 if all(promise.held for promise in found) else 1


def parts(traces: Path | None) -> Iterator[tuple[str, Iterator[Promise]]]:
    there = {path.stem.removesuffix("_dev"): path for path in traces.glob("*.csv")} if traces else {}
    if "termux" in there:
        yield "termux", rebuilds("termux", read(there["termux"]))
    if "metacentrum" in there:
        yield "metacentrum", long_jobs("metacentrum", read(there["metacentrum"]))
    if "mass_rebuild" in there:
        yield "mass_rebuild", mass("mass rebuild", read(there["mass_rebuild"]))
    yield "bursts", drawn("bursts", bursts(3000, seed=71, gap=900, names=300))
    yield "stream", drawn("stream", stream(3000, seed=72))
    yield "long-tail", behind("long tasks", half_hours())
    yield "sold-out", sold_out("sold out")
    yield "decisions", decisions("decision")


def once(jobs: Sequence[Job], preset: str, offer: Offer = USUAL, **more: Any) -> Result:
    """One replay."""
    contest = Contest(jobs, (offer,), **more)
    (found,) = contest.run([preset], [], None)["policies"]
    return found


# ── recorded days ──


def rebuilds(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    found = Contest(jobs, (USUAL,)).run(["thrifty", "default", "fast"], ["ray", "keda", "karpenter"], 300.0)
    by = {policy["name"]: policy for policy in found["policies"]}
    thrifty, usual, fast = by["thrifty"], by["default"], by["fast"]
    yield Promise(day, "thrifty: cost ÷ B1(300 s)", 1.055, thrifty["over_bound"])
    yield Promise(day, "thrifty: longest wait, s", 365, thrifty["wait_max"])
    for peer, part in (("ray", 0.55), ("keda", 0.55), ("karpenter", 0.87)):
        yield Promise(day, f"thrifty: cost ÷ that of {peer}", part, thrifty["cost_ratio"] / by[peer]["cost_ratio"])
    yield Promise(day, "default: cost ÷ work", 1.17, usual["cost_ratio"])
    yield Promise(day, "default: p95 of waits, s", 95, usual["wait_p95"])
    yield Promise(day, "fast: cost ÷ work", 1.25, fast["cost_ratio"])
    yield Promise(day, "fast: longest wait, s", soonest(jobs, USUAL) + 5, fast["wait_max"])
    for name, most in (("thrifty", 65), ("default", 80), ("fast", 125)):
        yield Promise(day, f"{name}: zero executors after the last end, s", most, by[name]["zero_after_s"])
    yield Promise(day, "one policy: seconds to replay", 20, max(by[n]["seconds_to_run"] for n in ("thrifty", "fast")))
    yield from spread(day, jobs, fast)
    yield from clones(day, jobs)
    yield from lanes(day, jobs)


def soonest(jobs: Sequence[Job], offer: Offer) -> float:
    """The longest wait in seconds that nobody undercuts without standing machines: a boot; and where more come at one
    instant than the ceiling allows, the first slots are free when as many of the shortest as have none have run."""
    came: dict[int, list[int]] = {}
    for each in jobs:
        came.setdefault(each.arrival, []).append(each.duration)
    over = (sorted(took)[len(took) - offer.ceiling - 1] for took in came.values() if len(took) > offer.ceiling)
    return (offer.boot + max(over, default=0)) / SECOND


def spread(day: str, jobs: Sequence[Job], fixed: Result) -> Iterator[Promise]:
    drawn = once(jobs, "fast", replace(USUAL, spread=0.4))
    yield Promise(day, "fast: cost with log-normal boots ÷ fixed ones", 1.05, drawn["cost_ratio"] / fixed["cost_ratio"])


def clones(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    fast, thrifty = once(jobs, "fast", QUICK), once(jobs, "thrifty", QUICK)
    yield Promise(day, "boots of 9 s, fast: p95 of waits, s", 10, fast["wait_p95"])
    yield Promise(day, "boots of 9 s, fast: cost ÷ work", 1.12, fast["cost_ratio"])
    yield Promise(day, "boots of 9 s, thrifty: cost ÷ work", 1.025, thrifty["cost_ratio"])


def lanes(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    """People in the interactive lane, all else thrifty."""
    mixed = [j._replace(cls="people" if j.source in PEOPLE else "rest") for j in jobs]
    found = once(mixed, "thrifty", lanes=PEOPLE)
    yield Promise(day, "lanes, thrifty: p95 of people's waits, s", 65, found["wait_p95_by_class"].get("people", 0.0))
    yield Promise(day, "lanes, thrifty: cost ÷ work", 1.15, found["cost_ratio"])


def long_jobs(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    (found,) = Contest(jobs, (USUAL,)).run(["thrifty"], [], 300.0)["policies"]
    yield Promise(day, "thrifty: cost ÷ B1(300 s)", 1.010, found["over_bound"])


def mass(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    """3,000 packages at once, and people beside them, at a ceiling of 20."""
    offer = replace(USUAL, ceiling=20)
    work, longest = sum(j.duration for j in jobs) / SECOND, max(j.duration for j in jobs) / SECOND
    bulk = [j for j in jobs if j.cls == "bulk"]
    mixed = [j if j.cls == "bulk" else j._replace(cls="people") for j in jobs]
    first = max(sum(j.duration for j in bulk) / SECOND / 20, max(j.duration for j in bulk) / SECOND)
    alone = once([j._replace(number=n) for n, j in enumerate(bulk)], "default", offer)
    yield Promise(day, "bulk alone: makespan ÷ what is possible", 1.02, (alone["makespan_s"] - 60) / first)
    found = once(mixed, "default", offer, lanes=PEOPLE)
    yield Promise(day, "people: p95 of waits, s", 480, found["wait_p95_by_class"]["people"])
    found = once(mixed, "default", offer, lanes=PEOPLE, reserve=RESERVE)
    yield Promise(day, "people, 2 slots left to them: p95 of waits, s", 90, found["wait_p95_by_class"]["people"])
    yield Promise(day, "all: cost ÷ work", 1.02 + 60 * 20 / work + longest / work, found["cost_ratio"])


# ── drawn days ──


def drawn(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    """What holds on any day: thrifty is near the bound and keeps its waits, fast waits for a boot, boots may vary."""
    found = Contest(jobs, (USUAL,)).run(["thrifty", "default", "fast"], ["ray", "karpenter"], 300.0)
    by = {policy["name"]: policy for policy in found["policies"]}
    yield Promise(day, "thrifty: cost ÷ B1(300 s)", 1.15, by["thrifty"]["over_bound"])
    yield Promise(day, "thrifty: longest wait, s", 365, by["thrifty"]["wait_max"])
    yield Promise(day, "fast: longest wait, s", soonest(jobs, USUAL) + 5, by["fast"]["wait_max"])
    yield Promise(
        day, "thrifty: cost ÷ that of karpenter", 1.0, by["thrifty"]["cost_ratio"] / by["karpenter"]["cost_ratio"]
    )
    yield Promise(day, "default: cost ÷ that of ray", 1.0, by["default"]["cost_ratio"] / by["ray"]["cost_ratio"])
    yield from spread(day, jobs, by["fast"])


def half_hours() -> Sequence[Job]:
    """3,000 tasks of half an hour at the ceiling, and a task of a minute now and then."""
    draw = random.Random(9)
    mass = [job(n, START, 1800, "frame", "bot", "bulk") for n in range(3000)]
    span = 3000 * 1800 / 100
    short = [job(0, START + draw.random() * span * 0.9, 60, "lint", "eva", "people") for _ in range(100)]
    return numbered([*mass, *short])


def behind(day: str, jobs: Sequence[Job]) -> Iterator[Promise]:
    found = once(jobs, "default", replace(USUAL, ceiling=100), lanes=PEOPLE, reserve=RESERVE)
    yield Promise(day, "a task of a minute behind 3,000 of 30: longest, s", 120, found["wait_max_by_class"]["people"])


def sold_out(day: str) -> Iterator[Promise]:
    """The cheap pool has nothing for three hours: the dear one is asked in the same pass, and left again."""
    jobs = stream(1500, seed=3, gap=30)
    cheap = replace(USUAL, name="cheap", price=1.0, sold_out=((3600 * SECOND, 4 * 3600 * SECOND),))
    dear = replace(USUAL, name="dear", price=3.0)
    (all_along,) = Contest(jobs, (replace(cheap, sold_out=()), dear)).run(["fast"], [], None)["policies"]
    (found,) = Contest(jobs, (cheap, dear)).run(["fast"], [], None)["policies"]
    yield Promise(day, "fast: longest wait more than without, s", 2, found["wait_max"] - all_along["wait_max"])
    span = (jobs[-1].arrival - jobs[0].arrival) / SECOND
    yield Promise(day, "price ÷ that without it", 1 + 2.3 * 3 * 3600 / span, found["cost"] / all_along["cost"])


# ── a decision ──


def decisions(day: str) -> Iterator[Promise]:
    """Each task a row of its own: the farm itself puts like ones together."""
    for waiting, most in ((10_000, 50), (50_000, 200)):
        seen = farm_at_work(waiting, 200)
        took = list[float]()
        for _ in range(15):
            began = perf_counter()
            default(seen)
            took.append((perf_counter() - began) * 1000)
        yield Promise(day, f"{waiting:,} wait, 200 executors: ms", most, sorted(took)[len(took) // 2])


def farm_at_work(waiting: int, executors: int) -> Snapshot:
    draw, now, s = random.Random(4), datetime(2026, 3, 2, 10, tzinfo=UTC), timedelta(seconds=1)
    pool = Pool("cloud", Decimal(1), 1, executors, 1, 60 * s, 60 * s, min_bill=60 * s)
    there = tuple(Executor(f"e{n}", "cloud", "ready", 1, 1, now - 900 * s) for n in range(executors))
    rows = tuple(
        Waiting(1, now - age * s, now + (300 - age) * s, draw.lognormvariate(4, 1) * s, 1, str(n))
        for n in range(waiting)
        for age in (draw.random() * 400,)
    )
    busy = tuple(Busy(now + draw.lognormvariate(4, 1) * s, 1, e.id) for e in there)
    return Snapshot(now, (Lane("default", 2, 0.5),), (pool,), there, (Demand("default", rows, busy),))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
