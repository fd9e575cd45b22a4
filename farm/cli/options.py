"""Options that every command has."""

from typing import Annotated

import typer

HomeOption = Annotated[
    str | None, typer.Option("--home", metavar="FOLDER", help="The farm's home (else FARM_HOME, else by XDG).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's number, such as 17.")]
RefArgument = Annotated[str, typer.Argument(metavar="JOB|TASK", help="A job (17) or a task (17.3).")]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Stay until the job ends; without a running farm, start one for as long.")
]
FetchOption = Annotated[
    str | None,
    typer.Option("--fetch", metavar="FOLDER", help="Stay, and fetch what the tasks keep into this folder as they end."),
]
HoldOption = Annotated[bool, typer.Option("--hold", help="Queue it held: nothing of it starts before `farm release`.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the job; else taken from what it does.")]
