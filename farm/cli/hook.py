"""`farm hook install`, and `farm event`, which the installed hook calls."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from farm.address import parse_address
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say
from farm.cli.reach import Place, place_of
from farm.cli.values import seconds
from farm.client import connect
from farm.home import Home
from farm.login import Login
from farm.patience import following_s
from farm.refusal import Refusal
from farm.workloads.command import sayable


def install(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="A git repository on this machine.")],
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Tell a farm on another machine; else the one you use.")
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its token for pushes; else yours for that farm.")
    ] = None,
    ca: Annotated[str | None, typer.Option("--ca", metavar="FILE", help="Trust the certificates in this file.")] = None,
    ask_backends: Annotated[
        bool, typer.Option("--ask-backends", help="Run build backends that are pushed here, to ask what they need.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Adds a post-receive hook that writes one line and never makes a push wait; a hook that is there stays. For a farm
    on another machine address and token are kept in the repository's folder, readable for who installs it alone: pushes
    must come in as that user. The sources are sent along."""
    where = Path(sayable(repository, "REPOSITORY"))
    place = _place(url, token_file, ca, home)
    if isinstance(place, Home):
        new, path = _near(where, place)
    else:
        from farm.hooks import install_far

        new, path = True, install_far(where, place, ask=ask_backends)
    if json:
        emit({"hook": str(path), "new": new})
    else:
        at = place.path if isinstance(place, Home) else place
        print(f"{'installed' if new else 'was installed already:'} {path}: pushes reach the farm {_at(at)}")
    return 0


def _at(place: object) -> str:
    return f"in {place}" if isinstance(place, Path) else f"at {place}"


def _near(where: Path, place: Home) -> tuple[bool, Path]:
    from farm.hooks import install as put
    from farm.hooks import is_installed

    place.make()
    before = is_installed(where, place)
    return not before, put(where, place)


def _place(url: str | None, token_file: str | None, ca: str | None, home: str | None) -> Place:
    """The farm that is meant, with the token that the hook gets. Raises Refusal."""
    if url is None and (token_file or ca):
        raise Refusal("a token or CA is for a farm elsewhere", "--url", "say which with --url URL")
    if url is None:
        return place_of(home)
    from farm.login import find_login, read_ca, read_token

    address = parse_address(url, "--url")
    known = find_login()
    mine = known if known is not None and known.address == address else None
    if token_file is None and mine is None:
        raise Refusal("there is no token for that farm", f"--url {address}", "give one with --token-file FILE")
    token = read_token(token_file) if token_file is not None else mine.token if mine else ""
    return Login(address, token, read_ca(ca, "--ca") if ca else mine.ca if mine else "")


def send(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="One whose hook tells a farm elsewhere.")],
    json: JsonOption = False,
) -> int:
    """Also done by the next push. Waits for a farm that is away as `farm wait` does."""
    from farm.cli.pushes import send_spooled
    from farm.hooks import far_folder

    folder = far_folder(Path(sayable(repository, "REPOSITORY")))
    if not folder.is_dir():
        raise Refusal("its hook tells no farm elsewhere", repository, f"farm hook install {repository} --url URL")
    answers = send_spooled(folder, following_s(), say)
    if json:
        emit({"events": answers})
    else:
        for answer in answers:
            _tell(answer)
    return 0


def event(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY")],
    spooled: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Send what lies there to a farm elsewhere.")
    ] = None,
    wait_s: Annotated[str, typer.Option("--for", metavar="10", help="Seconds to wait for its answer.")] = "10",
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Reads lines `OLD NEW REF`, as git gives them to post-receive. Without a running farm it only says so: the hook
    has noted the push in the home, where the farm finds it."""
    sayable(repository, "REPOSITORY")
    if spooled is not None:
        from farm.cli.pushes import send_beside

        return send_beside(Path(spooled), seconds(wait_s, "--for"))
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


def told(answer: Any) -> str:
    return f"job {answer['id']}: {answer['why']}" if answer["id"] else str(answer["why"])


def _tell(answer: Any) -> None:
    print(told(answer))
