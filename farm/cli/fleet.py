"""`farm executors`, `farm pools`."""

from typing import Annotated, Any

import typer

from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say, table
from farm.cli.reach import reader


def executors(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are gone.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """States: ordered, booting, ready, draining, gone, lost."""
    found = _get(home, "/v1/executors", all=everything or None)
    if json:
        emit(found)
        return 0
    if not found["executors"]:
        say("no executors; `farm why JOB` tells what a job waits for")
        return 0
    table(
        ("executor", "pool", "state", "busy", "ordered", "ready", "gone", "price", "why"),
        [_executor(one) for one in found["executors"]],
        numbers=("price",),
    )
    return 0


def _get(home: str | None, path: str, **query: object) -> Any:
    with reader(home) as client:
        return client.get(path, **query)


def _executor(one: dict[str, Any]) -> list[Any]:
    times = (moment(one[name]) for name in ("ordered", "ready", "gone"))
    busy = f"{one['busy']}/{one['slots']}"
    return [one["id"], one["pool"], one["state"], busy, *times, one["price"], one["why"]]


def pools(home: HomeOption = None, json: JsonOption = False) -> int:
    """Floor and ceiling are those of this hour."""
    found = _get(home, "/v1/pools")
    if json:
        emit(found)
        return 0
    columns = ("name", "provider", "executors", "floor", "ceiling", "slots", "price_per_hour", "boot_s", "idle_s")
    rows = [[*(pool[name] for name in columns), pool["window"], _pause(pool)] for pool in found["pools"]]
    table((*columns, "window", "note"), rows, numbers=columns[2:])
    return 0


def _pause(pool: dict[str, Any]) -> str:
    until = pool["breaker_open_until"]
    if pool["closed"]:
        return str(pool["closed"])
    return f"sold out, asked again {moment(until)}" if until else ""
