"""`farm bench queue`: the queue by itself, at depths that no farm of two cores would work off."""

import os
from typing import Annotated, Any

import typer

from farm.cli.options import JsonOption
from farm.cli.output import emit, facts, say


def queue(
    tasks: Annotated[int, typer.Option(min=1000, max=1_000_000, help="How many tasks the array has.")] = 1_000_000,
    finish: Annotated[int, typer.Option(min=200, help="How many of them are brought to their end.")] = 20_000,
    jobs: Annotated[int, typer.Option(min=100, max=100_000, help="Single jobs in one request.")] = 100_000,
    items: Annotated[int, typer.Option(min=100, help="Items of a graph; ten times as many edges.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1, metavar="S", help="How long 200 executors are watched.")] = 10,
    growth: Annotated[int, typer.Option(min=0, help="Cost per task for 100 … so many tasks; 0 leaves it out.")] = 0,
    json: JsonOption = False,
) -> int:
    """A farm of its own in a temporary home, SQLite with everything on disk. Its service runs alone and nothing is
    executed: the 200 executors of the last part exist in memory only and end a thousand tasks a second. What is above
    the number that it should have is named in `over` and is no error: a machine that does other things too takes longer
    for everything, so CPU times stand beside."""
    found, limits = _measure(tasks, finish, jobs, items, seconds)
    if growth:
        from farm.bench.growth import growth as grown

        say(f"cost per task for up to {growth:,} tasks")
        found["growth"] = grown(growth)
    from farm.bench.figures import over

    found |= {"load": round(os.getloadavg()[0], 1), "limits": limits, "over": over(found, limits)}
    if json:
        emit(found)
    else:
        facts(
            (name, _shown(value, limits.get(name))) for name, value in found.items() if name not in ("limits", "growth")
        )
    return 0


def _measure(tasks: int, finish: int, jobs: int, items: int, seconds: float) -> tuple[dict[str, Any], dict[str, float]]:
    from farm.bench import burst, depth, wide
    from farm.bench.alone_farm import alone

    found: dict[str, Any] = {}
    say(f"an array of {tasks:,} tasks")
    with alone() as farm:
        found |= depth.depth(farm, tasks, finish)
    say(f"{jobs:,} jobs in one request, a graph of {items:,} items")
    with alone() as farm:
        found |= burst.many(farm, jobs)
    with alone() as farm:
        found |= burst.graph(farm, items, items * 10)
    say(f"{wide.EXECUTORS} executors")
    with alone(wide.EXECUTORS) as farm:
        found |= wide.wide(farm, seconds)
    return found, {**depth.LIMITS, **burst.LIMITS, **wide.LIMITS}


def _shown(value: Any, limit: float | None) -> Any:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value}   (at most {limit:g})" if limit is not None else value
