"""`farm hook install`, and `farm event`, which the installed hook calls."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit
from farm.client import connect
from farm.home import Home
from farm.refusal import Refusal
from farm.workloads.command import sayable


def install(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="A git repository on this machine.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Adds a post-receive hook that writes one line and never makes a push wait; a hook that is there stays."""
    from farm.hooks import install as put
    from farm.hooks import is_installed

    place, where = Home.find(home).make(), Path(sayable(repository, "REPOSITORY"))
    before = is_installed(where, place)
    path = put(where, place)
    if json:
        emit({"hook": str(path), "new": not before})
    else:
        print(f"{'was installed already:' if before else 'installed'} {path}: pushes reach the farm in {place.path}")
    return 0


def event(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY")], home: HomeOption = None, json: JsonOption = False
) -> int:
    """Reads lines `OLD NEW REF`, as git gives them to post-receive. Without a running farm it only says so: the hook
    has noted the push in the home, where the farm finds it."""
    sayable(repository, "REPOSITORY")
    given = sys.stdin.buffer.read().decode(errors="surrogateescape")
    pushes = [_push(repository, sayable(line, "stdin")) for line in given.splitlines() if line.strip()]
    with connect(Home.find(home)) as client:
        answers = [client.post("/v1/events/git", push) for push in pushes]
    if json:
        emit({"events": answers})
    else:
        for answer in answers:
            _tell(answer)
    return 0


def _push(repository: str, line: str) -> dict[str, str]:
    words = line.split(maxsplit=2)
    if len(words) != 3:
        raise Refusal(f"{line!r} is no push", "stdin", "give lines of `OLD NEW REF`, as post-receive gets them")
    old, new, ref = words
    return {"repository": str(Path(repository).absolute()), "ref": ref, "old": old, "new": new}


def _tell(answer: Any) -> None:
    print(f"job {answer['id']}: {answer['why']}" if answer["id"] else answer["why"])
