"""What a replay cost and how long its jobs waited."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from farm.refusal import Refusal
from farm.simulate.trace import SECOND, Job

if TYPE_CHECKING:
    from farm.simulate.world import World


def play(world: "World") -> dict[str, Any]:
    """Run it. Its numbers, by the names of `farm simulate --json`."""
    mind, turns = world.mind.turn, list[float]()

    def timed(now: "World") -> None:
        began = perf_counter()
        mind(now)
        turns.append(perf_counter() - began)

    began = perf_counter()
    world.run(timed)
    if len(world.done) < len(world.jobs):
        left = len(world.jobs) - len(world.done)
        what = f"policy {world.mind.name} leaves {left:,} of {len(world.jobs):,} jobs waiting for ever"
        raise Refusal(what, "farm simulate", "look at what it orders, or raise the ceiling")
    return {**score(world), "decision_ms_p99": _ms(turns), "seconds_to_run": round(perf_counter() - began, 3)}


def _ms(turns: Sequence[float]) -> float:
    return round(percentile(sorted(turns), 0.99) * 1000, 3)


def score(world: "World") -> dict[str, Any]:
    """Waits are until a job begins first, in seconds; `makespan_s` is from the first arrival to the last end."""
    jobs = world.jobs
    waits = sorted(wait(world, job) for job in jobs)
    work = sum(job.duration for job in jobs)
    return {
        "name": world.mind.name,
        "cost_ratio": round(world.paid / work, 5),
        "paid_machine_s": round(world.paid / SECOND, 1),
        "cost": round(world.cost, 4),
        "wait_p50": round(percentile(waits, 0.5), 3),
        "wait_p95": round(percentile(waits, 0.95), 3),
        "wait_max": round(waits[-1], 3),
        "wait_p95_by_class": {name: round(percentile(found, 0.95), 3) for name, found in by_class(world).items()},
        "wait_max_by_class": {name: round(found[-1], 3) for name, found in by_class(world).items()},
        "launches": world.launches,
        "peak": world.peak,
        "zero_after_s": None if world.empty_at is None else round((world.empty_at - world.last_end) / SECOND, 3),
        "makespan_s": round((world.last_end - jobs[0].arrival) / SECOND, 3),
    }


def wait(world: "World", job: Job) -> float:
    return (world.begun[job.number] - job.arrival) / SECOND


def by_class(world: "World") -> dict[str, list[float]]:
    """Class → its waits, the shortest first."""
    found: dict[str, list[float]] = {}
    for job in world.jobs:
        found.setdefault(job.cls, []).append(wait(world, job))
    return {name: sorted(found[name]) for name in sorted(found)}


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values, between two of them in proportion; 0 of none."""
    if not values:
        return 0.0
    at = part * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])
