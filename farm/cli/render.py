"""`farm render`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.cli import values
from farm.cli.options import (
    HomeOption,
    JsonOption,
    LaneOption,
    MaxOutputOption,
    MemoryOption,
    NameOption,
    OwnerOption,
    PriorityOption,
    ProcessesOption,
    ProjectOption,
    SilenceOption,
    TimeoutOption,
    WaitOption,
)
from farm.cli.submit import Placing, me
from farm.client import Client
from farm.home import Home
from farm.workloads.command import NAME_LIMIT, sayable

if TYPE_CHECKING:
    from farm.model import File
    from farm.workloads import Put


def render(
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="A POV-Ray scene; the files it names go with it.")],
    frames: Annotated[str, typer.Option(metavar="1-240[:2]", help="Frames; several ranges with commas.")] = "1",
    of: Annotated[
        str, typer.Option(metavar="1-240", help="The whole film, when --frames is a part of it: sets the clock.")
    ] = "",
    chunk: Annotated[int, typer.Option(min=1, help="Frames in one task.")] = 1,
    size: Annotated[str, typer.Option(metavar="480x270", help="Width and height of a frame.")] = "480x270",
    turn: Annotated[bool, typer.Option("--turn", help="Carry the camera round the scene.")] = False,
    film: Annotated[bool, typer.Option("--film", help="Make film.mp4 and contact.png of the frames.")] = False,
    rate: Annotated[int, typer.Option(min=1, max=240, help="Frames a second of the film.")] = 24,
    povray: Annotated[
        list[str] | None, typer.Option("--option", metavar="+A0.3", help="An option of POV-Ray's own; may be repeated.")
    ] = None,
    includes: Annotated[
        list[str] | None, typer.Option("--input", metavar="FILE", help="A file beyond those that the scene names.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Fetch frames and film into this folder as they finish.")
    ] = None,
    name: NameOption = None,
    lane: LaneOption = "default",
    priority: PriorityOption = 0,
    owner: OwnerOption = None,
    project: ProjectOption = "",
    timeout: TimeoutOption = None,
    silence: SilenceOption = None,
    memory: MemoryOption = None,
    max_output: MaxOutputOption = None,
    processes: ProcessesOption = None,
    wait: WaitOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """The first, the last and the middle frame come first. --out waits for the frames, as --wait does."""
    from farm.cli.get import fetcher, make_folder
    from farm.cli.thumbnails import Thumbnails

    limits = values.limits(timeout, silence, memory, max_output, processes)
    job = {
        "kind": "render",
        "name": values.name(name, "--name") or Path(scene).name[:NAME_LIMIT],
        "owner": values.name(owner, "--owner") or me(),
        "project": sayable(project, "--project"),
        "lane": sayable(lane, "--lane"),
        "priority": priority,
    }

    def plan(put: "Put") -> list[dict[str, Any]]:
        from farm.workloads.render.povray import plan_render

        steps = plan_render(
            Path(scene),
            frames,
            put=put,
            size=size,
            chunk=chunk,
            film=film,
            rate=rate,
            of=of,
            turn=turn,
            options=povray or (),
            includes=[Path(path) for path in includes or ()],
        )
        return [{**step.model_dump(mode="json", exclude_defaults=True), **limits} for step in steps]

    def send(client: Client) -> int:
        from farm.cli.uploads import putter

        return int(client.post("/v1/jobs", {**job, "steps": plan(putter(client))})["id"])

    plan(_nowhere)  # what is wrong is said before a farm is started for it
    if out:
        make_folder(Path(sayable(out, "--out")))
    fetch = fetcher(Path(out)) if out else _nothing
    thumbnails = Thumbnails()

    def finished(client: Client, task: Any) -> None:
        fetch(client, task)
        if not json:
            thumbnails(client, task)

    status = Placing(Home.find(home), wait=wait or out is not None, json=json, finished=finished).place(send)
    thumbnails.end()
    return status


def _nowhere(path: Path) -> "File":
    """A file as it would be in a store."""
    from farm.model import File

    return File(path=path.name[:200], digest="0" * 64, size=0)


def _nothing(_client: Client, _task: Any) -> None:
    """What is done with the outputs of a task when nobody asked for them."""
