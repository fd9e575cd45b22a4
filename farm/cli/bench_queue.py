"""`farm bench queue`: the queue by itself, at depths that no farm of two cores would work off."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from farm.cli.options import JsonOption
from farm.cli.output import emit, say, table


class On(StrEnum):
    BOTH = "both"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def queue(
    tasks: Annotated[int, typer.Option(min=10_000, max=1_000_000, help="How many tasks the array has.")] = 1_000_000,
    finish: Annotated[int, typer.Option(min=200, help="How many of them are claimed and ended.")] = 12_000,
    jobs: Annotated[int, typer.Option(min=100, max=100_000, help="Single jobs in one request.")] = 100_000,
    items: Annotated[int, typer.Option(min=100, help="Items of a graph; ten times as many edges.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1, metavar="S", help="How long 200 executors are watched.")] = 4,
    growth: Annotated[int, typer.Option(min=0, help="Cost per task for 100 … so many; 0 leaves it out.")] = 1_000_000,
    runs: Annotated[
        int, typer.Option(min=1, help="How often; the middle one is told, with the least and the most.")
    ] = 3,
    on: Annotated[On, typer.Option(help="Which databases.")] = On.BOTH,
    json: JsonOption = False,
) -> int:
    """Farms of its own in temporary homes, with everything on disk: on SQLite, and on a PostgreSQL that it starts. The
    services run alone and nothing is executed: the 200 executors of the last part exist in memory only and end a
    thousand tasks a second. What is above the number that it should have is named in `over` and is no error: a machine
    that does other things too takes longer for everything, so CPU times stand beside."""
    from farm.bench.whole import Sizes, whole

    found = whole(Sizes(tasks, finish, jobs, items, seconds, growth, runs), [*_kinds(on)], say)
    if json:
        emit(found)
    else:
        _show(found)
    return 0


def _kinds(on: On) -> list[str]:
    return [one.value for one in (On.SQLITE, On.POSTGRESQL) if on in (one, On.BOTH)]


def _show(found: dict[str, Any]) -> None:
    names = list(dict.fromkeys(name for numbers in found["databases"].values() for name in numbers if name != "failed"))
    rows = [_row(found, name) for name in names]
    table(("", *found["databases"], "at most", "held"), rows, numbers=("at most",))
    for kind, numbers in found["databases"].items():
        if "failed" in numbers:
            say(f"{kind}: {numbers['failed']}")


def _row(found: dict[str, Any], name: str) -> list[Any]:
    limit = found["limits"].get(name)
    shown = [_spread(numbers.get(name)) for numbers in found["databases"].values()]
    over = [kind for kind in found["databases"] if f"{kind} {name}" in found["over"]]
    held = "" if limit is None else f"not on {', '.join(over)}" if over else "yes"
    return [name, *shown, f"{limit:g}" if limit is not None else "", held]


def _spread(number: Any) -> str:
    """`0.012 (0.011–0.02)`."""
    return f"{number['median']:g} ({number['least']:g}–{number['most']:g})" if number else ""
