"""Limits of a task: options of every command that brings work in."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from farm.cli import values


@dataclass(frozen=True, slots=True)
class Bounds:
    """What ends a task."""

    timeout: Annotated[str | None, typer.Option(metavar="10m", help="End a task that runs longer.")] = None
    silence: Annotated[str | None, typer.Option(metavar="10m", help="End a task that writes nothing for so long.")] = (
        None
    )
    memory: Annotated[
        str | None, typer.Option(metavar="2GiB", help="Memory of one task with all its processes; it is ended beyond.")
    ] = None
    max_output: Annotated[str | None, typer.Option(metavar="1GiB", help="End a task that writes more to its log.")] = (
        None
    )
    processes: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, metavar="100", help="Processes a task may have at once.")
    ] = None

    def told(self) -> dict[str, Any]:
        """As the API wants it. Raises Refusal."""
        return values.limits(self.timeout, self.silence, self.memory, self.max_output, self.processes)
