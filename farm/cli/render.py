"""`farm render`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.cli import values
from farm.cli.booking import Booking
from farm.cli.bounds import Bounds
from farm.cli.options import HoldOption, HomeOption, JsonOption, NameOption, WaitOption
from farm.cli.reach import place_of
from farm.cli.submit import Placing, held
from farm.client import Client
from farm.workloads.command import sayable

if TYPE_CHECKING:
    from farm.model import File
    from farm.workloads import Put


@dataclass(frozen=True, slots=True)
class Film:
    """What is made of a scene."""

    frames: Annotated[str, typer.Option(metavar="1-240[:2]", help="Frames; several ranges with commas.")] = "1"
    of: Annotated[
        str, typer.Option(metavar="1-240", help="The whole film, when --frames is a part of it: sets the clock.")
    ] = ""
    chunk: Annotated[int, typer.Option(min=1, help="Frames in one task.")] = 1
    size: Annotated[str, typer.Option(metavar="480x270", help="Width and height of a frame.")] = "480x270"
    turn: Annotated[bool, typer.Option("--turn", help="Carry the camera round the scene.")] = False
    film: Annotated[bool, typer.Option("--film", help="Make film.mp4 and contact.png of the frames.")] = False
    rate: Annotated[int, typer.Option(min=1, max=240, help="Frames a second of the film.")] = 24
    povray: Annotated[
        list[str] | None, typer.Option("--option", metavar="+A0.3", help="An option of POV-Ray's own; may be repeated.")
    ] = None
    includes: Annotated[
        list[str] | None, typer.Option("--input", metavar="FILE", help="A file beyond those that the scene names.")
    ] = None

    def steps(self, put: "Put", scene: Path, limits: dict[str, Any]) -> list[dict[str, Any]]:
        """Of the job. Raises Refusal."""
        from farm.workloads.render.povray import plan_render

        planned = plan_render(
            scene,
            self.frames,
            put=put,
            of=self.of,
            chunk=self.chunk,
            size=self.size,
            turn=self.turn,
            film=self.film,
            rate=self.rate,
            options=self.povray or (),
            includes=[Path(path) for path in self.includes or ()],
        )
        return [{**step.model_dump(mode="json", exclude_defaults=True), **limits} for step in planned]


def render(
    scene: Annotated[str, typer.Argument(metavar="SCENE", help="A POV-Ray scene; the files it names go with it.")],
    *,
    wish: Film,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "--fetch", metavar="FOLDER", help="Fetch frames and film into this folder as they finish."
        ),
    ] = None,
    name: NameOption = None,
    booking: Booking,
    hold: HoldOption = False,
    bounds: Bounds,
    wait: WaitOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """The first, the last and the middle frame come first. --out waits for the frames, as --wait does."""
    limits = bounds.told()
    job = {
        "kind": "render",
        "name": values.name(name, "--name") or values.named_after(sayable(scene, "SCENE")),
        **booking.told(),
        "held": held(hold, wait or out is not None),
    }

    def send(client: Client) -> int:
        from farm.cli.uploads import Sending

        sending = Sending(client)
        steps = wish.steps(sending, Path(scene), limits)
        sending.send()
        return int(client.submit("/v1/jobs", {**job, "steps": steps})["id"])

    wish.steps(_nowhere, Path(scene), limits)  # what is wrong is said before a farm is started for it
    watching = _Watching(out, not json)
    placing = Placing(place_of(home), wait or out is not None, json, watching, booking.owner)
    status = placing.place(send)
    watching.end()
    return status


class _Watching:
    """Is called with each task that ended: fetches its frames, and shows them."""

    def __init__(self, out: str | None, shown: bool) -> None:
        """Raises Refusal when there can't be a folder `out`."""
        from farm.cli.get import Fetching, make_folder
        from farm.cli.thumbnails import Thumbnails

        if out:
            make_folder(Path(sayable(out, "--out")))
        self._fetch = Fetching(Path(out), overwrite=True) if out else None
        self._thumbnails = Thumbnails() if shown else None

    def __call__(self, client: Client, task: Any) -> None:
        if self._fetch:
            self._fetch(client, task)
        if self._thumbnails:
            self._thumbnails(client, task)

    def end(self) -> None:
        if self._thumbnails:
            self._thumbnails.end()


def _nowhere(path: Path) -> "File":
    """A file as it would be in a store."""
    from farm.model import File

    return File(path=path.name[:200], digest="0" * 64, size=0)
