"""`farm rebuild`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli.booking import Booking
from farm.cli.bounds import Bounds
from farm.cli.options import FetchOption, HomeOption, JsonOption, WaitOption
from farm.cli.output import emit, say
from farm.cli.reach import place_of
from farm.cli.submit import Placing, fetching
from farm.client import Client
from farm.refusal import Refusal
from farm.workloads.command import sayable


def rebuild(
    tree: Annotated[str, typer.Argument(metavar="[TREE]", help="A folder of packages, or a git repository.")] = ".",
    *,
    changed: Annotated[
        str | None, typer.Option(metavar="OLD..NEW", help="Only what these commits touch, and what depends on it.")
    ] = None,
    booking: Booking,
    bounds: Bounds,
    wait: WaitOption = False,
    fetch: FetchOption = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """What is as it was built before is left alone. Packages land in the farm's own index, HOME/index/simple. The
    limits are for the build of one package, whose --timeout is 1h unless it is given."""
    old, new = _commits(changed)
    folder = _folder(tree)
    body = {**booking.told(), "limits": bounds.told()}

    def send(client: Client) -> int | None:
        if client.at:
            answer = _sent(client, folder, old, new, body)
        else:
            answer = client.submit("/v1/rebuilds", {**body, "tree": folder, "old": old, "new": new})
        if not json:
            for text in (*answer.get("notes", ()), answer["why"]):
                say(text)
        elif answer["id"] is None:
            emit(answer)
        return answer["id"] if answer["id"] is None else int(answer["id"])

    placing = Placing(place_of(home), wait or fetch is not None, json, fetching(fetch), booking.owner)
    return placing.place(send)


def _sent(client: Client, folder: str, old: str, new: str, body: dict[str, Any]) -> Any:
    """On a farm elsewhere: the sources go there first."""
    from farm.cli.trees import send_folder

    digest, note = send_folder(client, Path(folder), old, new)
    answer = client.submit("/v1/rebuilds/sent", {**body, "tree": digest})
    return {**answer, "notes": [*filter(None, [note]), *answer["notes"]]}


def _folder(tree: str) -> str:
    path = Path(sayable(tree, "TREE")).absolute()
    if not path.is_dir():
        raise Refusal(f"there is no folder {tree!r}", "TREE", "name a folder of packages or a git repository")
    return str(path)


def _commits(changed: str | None) -> tuple[str, str]:
    """The sides of `OLD..NEW`; an empty one is HEAD, as git has it."""
    if changed is None:
        return "", ""
    old, dots, new = sayable(changed, "--changed").partition("..")
    if not dots:
        raise Refusal(f"{changed!r} are no two commits", "--changed", "write OLD..NEW, such as HEAD~1..HEAD")
    return old or "HEAD", new or "HEAD"
