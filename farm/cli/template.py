"""`farm template build`, `farm template list`: on the farm's own machine, whether the farm runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say, table
from farm.home import Home
from farm.refusal import Unavailable

if TYPE_CHECKING:
    from executors.contract import Prepared
    from farm.context import Farm


def build(
    pool: Annotated[str | None, typer.Argument(metavar="[POOL]", help="Of this pool only.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Minutes, the first time; an instant when it is there. Without this the first order of a pool has it made, and
    waits."""
    from executors.errors import ProviderError
    from farm.templates import preparing

    made: dict[str, Any] = {}
    with _opened(home) as farm:
        for name, provider in preparing(farm, pool).items():
            try:
                made[name] = _row(provider.prepare(say))
            except ProviderError as error:
                raise Unavailable(str(error), f"pool {name!r}") from error
    if json:
        emit(made)
    elif not made:
        say("no pool of this farm needs a template")
    return 0


def show(home: HomeOption = None, json: JsonOption = False) -> int:
    """All that this machine keeps, for whatever farm; one that nobody has cloned for a week goes by itself."""
    from farm.templates import preparing

    with _opened(home) as farm:
        kept = {one.name: _row(one) for provider in preparing(farm).values() for one in provider.prepared()}
    if json:
        emit({"templates": list(kept.values())})
    elif not kept:
        say("no templates: `farm template build` makes those of this farm's pools")
    else:
        rows = [[one["name"], moment(one["made_at"]), one["mib"], one["what"]] for one in kept.values()]
        table(("template", "made", "MiB", "what"), rows, numbers=("MiB",))
    return 0


@contextmanager
def _opened(home: str | None) -> "Iterator[Farm]":
    from farm.context import open_farm

    farm = open_farm(Home.find(home))
    try:
        yield farm
    finally:
        farm.close()


def _row(one: "Prepared") -> dict[str, Any]:
    return {"name": one.name, "what": one.what, "mib": one.mib, "made_at": one.made_at.isoformat()}
