"""What a task needs and what ends it: options of every command that brings work in."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from farm.cli import needs, values
from farm.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one task."""

    needs: Annotated[
        str | None,
        typer.Option(metavar="cpu=2,memory=4G,gpus=1", help="What one task needs; other amounts as in farm.toml."),
    ] = None
    cpus: Annotated[int | None, typer.Option(min=1, max=1024, metavar="2", help="The same as --needs cpu=2.")] = None
    gpus: Annotated[int | None, typer.Option(min=1, max=1024, metavar="1", help="The same as --needs gpus=1.")] = None
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="Run only where it holds: K=V, K!=V, K (has it), !K; may be repeated."),
    ] = None
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
        limits = values.limits(self.timeout, self.silence, self.memory, self.max_output, self.processes)
        needed = needs.told(self.needs, self.cpus, self.gpus, self.label or ())
        if "memory" in needed and limits.get("memory", needed["memory"]) != needed["memory"]:
            raise Refusal("the memory is given twice, and differs", "--needs and --memory", "leave one of them out")
        return {**needed, **limits}
