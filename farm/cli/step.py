"""What the tasks of a command are: the options of `farm submit` that make its one step."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from farm.cli import values
from farm.cli.bounds import Bounds
from farm.cli.output import say
from farm.refusal import Refusal
from farm.workloads.command import check_command, sayable


@dataclass(frozen=True, slots=True)
class Step:
    """Of a job of one step."""

    array: Annotated[
        str | None, typer.Option(metavar="1-100[:2]", help="One task per index; {index} in the command becomes it.")
    ] = None
    retries: Annotated[int, typer.Option(min=0, max=100, help="Run a task again so often when it fails.")] = 0
    licence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=N]", help="Holds so many (1) of this licence of farm.toml; may be repeated."),
    ] = None
    licence_exit: Annotated[
        int | None,
        typer.Option(min=1, max=255, help='Exit status that means "no licence now": it waits and tries again.'),
    ] = None
    licence_wait: Annotated[
        str | None, typer.Option(metavar="24h", help="Fail when there is no licence for so long (24h).")
    ] = None
    env: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Environment of the command; K alone takes this shell's.")
    ] = None
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=file:PATH|env:NAME",
            help="More of its environment: the service reads it when the task starts, and blots it out of the log.",
        ),
    ] = None
    cwd: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where to run: below the task's own folder, or absolute.")
    ] = ""
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="GLOB", help="Files to keep, for `farm get`; may be repeated."),
    ] = None

    def told(self, command: list[str], bounds: Bounds) -> dict[str, Any]:
        """As the API wants it. Raises Refusal."""
        step: dict[str, Any] = {
            "argv": command,
            "env": values.environment(self.env or []),
            "secrets": values.secrets(self.secret or []),
            "cwd": sayable(self.cwd, "--cwd"),
            "retries": self.retries,
            "outputs": self.outputs or [],
            **bounds.told(),
            "licences": values.licences(self.licence or []),
            **_licence(self.licence_exit, self.licence_wait),
        }
        check_command(command, step["env"], step["outputs"])
        if self.array is not None:
            return {**step, "array": values.array(self.array)}
        _warn_of_tokens(step)
        return step


def _licence(code: int | None, wait: str | None) -> dict[str, Any]:
    if wait is not None and code is None:
        raise Refusal("which exit means that there is no licence?", "--licence-wait", "add --licence-exit 77")
    if code is None:
        return {}
    return {"licence_exit": code, "licence_wait_s": values.seconds(wait or "24h", "--licence-wait")}


def _warn_of_tokens(step: dict[str, Any]) -> None:
    texts = [*step["argv"], *step["env"].values(), *step["outputs"]]
    if found := next((token for token in values.TOKENS if any(token in text for text in texts)), None):
        say(f"{found} stays as it is, for only the tasks of an array have one; add --array 1-10 if that was meant")
