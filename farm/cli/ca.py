"""`farm ca show`, `farm ca rotate`."""

from typing import Annotated

import typer

from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say
from farm.cli.reach import reader
from farm.cli.values import seconds as seconds_of
from farm.refusal import NotFound


def show(home: HomeOption = None, json: JsonOption = False) -> int:
    """The certificate goes to stdout in PEM (`farm ca show > farm-ca.pem`), its SHA-256 fingerprint stands above it.
    Neither is a secret."""
    with reader(home) as client:
        found = client.get("/v1/ca")
    if not found["ca"]:
        what = "there is nothing to be trusted: the farm has no certificate of its own"
        raise NotFound(what, "farm ca", "`farm up --listen HOST:PORT` makes one")
    if json:
        emit(found)
    else:
        print(f"SHA-256 fingerprint: {found['fingerprint']}\n{found['ca']}", end="")
    return 0


def rotate(
    overlap: Annotated[
        str, typer.Option(metavar="30d", help="For so long those who trust the old one get on, too.")
    ] = "30d",
    now: Annotated[
        bool, typer.Option("--now", help="Cut off at once who trusts the old one: its key was stolen.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """A new certificate authority, at once and without a restart. Running executors and people who have logged in learn
    of it by themselves before the overlap ends. With --now people log in again at once, and executors elsewhere end
    with their lease."""
    seconds = 0.0 if now else seconds_of(overlap, "--overlap")
    with reader(home) as client:
        made = client.post("/v1/ca/rotate", {"overlap_s": seconds})
    if json:
        emit(made)
        return 0
    print(f"SHA-256 fingerprint: {made['fingerprint']}")
    say(f"who trusts the old one gets on until {moment(made['until'])}" if made["until"] else "the old one is cut off")
    return 0
