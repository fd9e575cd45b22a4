"""`farm token create`, `farm token list`, `farm token revoke`."""

from typing import Annotated, Any

import typer

from farm.cli.moments import moment
from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say, table
from farm.cli.reach import reader
from farm.cli.values import seconds as seconds_of
from farm.refusal import Refusal


def create(
    owner: Annotated[str, typer.Option(metavar="NAME", help="Who has it: its jobs are booked on that name.")] = "",
    scope: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="read, submit, own, operate, admin, with commas between; else submit,own."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="30d", help="Good for so long; else until it is revoked.")
    ] = None,
    join: Annotated[
        str | None, typer.Option(metavar="POOL", help="A ticket for one machine that joins this pool.")
    ] = None,
    name: Annotated[str, typer.Option(metavar="TEXT", help="What it is for, to know it again in the list.")] = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """The secret is printed once and kept nowhere; give it to who is to have it. Every scope may read. submit: bring
    work in. own: cancel and retry one's own jobs. operate: act on all jobs, pools and executors. admin: all of that,
    tokens, certificates, `farm down` and `farm prune`."""
    if join is not None and not join.strip():
        raise Refusal("the name is empty", "--join", "name a pool; see `farm pools`")
    wanted = {"owner": owner, "name": name, "join": join or "", "scopes": _scopes(scope)}
    limit = seconds_of(expires, "--expires") if expires is not None else None
    with reader(home) as client:
        made = client.post("/v1/tokens", {**wanted, "expires_s": limit})
    if json:
        emit(made)
        return 0
    say(_about(made))
    print(made["secret"])
    return 0


def _scopes(text: str | None) -> list[str]:
    """An unset variable is not what a token may do by default. Raises Refusal."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if text is not None and not words:
        raise Refusal("no scope is named", "--scope", "name one, such as read, or leave --scope out for submit,own")
    return words


def _about(made: dict[str, Any]) -> str:
    what = f"a ticket for pool {made['pool']}" if made["pool"] else f"{', '.join(made['scopes'])} for {made['owner']}"
    until = f"until {moment(made['expires'])}" if made["expires"] else "until it is revoked"
    return f"token {made['id']}: {what}, good {until}; it is shown this once:"


def tokens(
    all: Annotated[
        bool, typer.Option("--all", help="Also those of machines, and those that are good no more.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Secrets are not shown: the farm does not have them."""
    with reader(home) as client:
        found = client.get("/v1/tokens", all=all)
    if json:
        emit(found)
        return 0
    columns = ("id", "owner", "scopes", "kind", "state", "created", "expires", "used", "name")
    table(columns, [_row(one) for one in found["tokens"]])
    return 0


def _row(one: dict[str, Any]) -> list[Any]:
    times = (moment(one[name]) for name in ("created", "expires", "used"))
    place = one["executor"] or one["pool"]
    return [one["id"], one["owner"], ",".join(one["scopes"]) or place, one["kind"], one["state"], *times, one["name"]]


def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `farm token list` shows it.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """It is good for nothing from that moment on."""
    from urllib.parse import quote

    number = token.split("_")[1] if token.count("_") > 1 else token  # never the secret itself in a path
    with reader(home) as client:
        done = client.post(f"/v1/tokens/{quote(number, safe='')}/revoke")
    if json:
        emit(done)
    else:
        print(f"token {done['id']} is good for nothing any more")
    return 0
