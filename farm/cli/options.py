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
LaneOption = Annotated[str, typer.Option(help="Class of jobs with a waiting time to aim for, as in farm.toml.")]
PriorityOption = Annotated[int, typer.Option(min=-100, max=100, help="Higher is earlier, within the lane.")]
HoldOption = Annotated[bool, typer.Option("--hold", help="Queue it held: nothing of it starts before `farm release`.")]
OwnerOption = Annotated[str | None, typer.Option(help="Who pays; else the name of this user.")]
ProjectOption = Annotated[str, typer.Option(help="What it is for; a column of the reports.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the job; else taken from what it does.")]
TimeoutOption = Annotated[str | None, typer.Option(metavar="10m", help="End a task that runs longer.")]
SilenceOption = Annotated[str | None, typer.Option(metavar="10m", help="End a task that writes nothing for so long.")]
MemoryOption = Annotated[
    str | None, typer.Option(metavar="2GiB", help="Memory of one task with all its processes; it is ended beyond.")
]
MaxOutputOption = Annotated[str | None, typer.Option(metavar="1GiB", help="End a task that writes more to its log.")]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, max=1_000_000, metavar="100", help="Processes a task may have at once.")
]
