"""`farm executor join` and `farm executor unit`: an owned machine stands by for a farm elsewhere."""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated

import typer

from farm.address import parse_address
from farm.cli.options import JsonOption
from farm.cli.output import emit
from farm.refusal import Refusal

Url = Annotated[str, typer.Argument(metavar="URL", help="The farm, such as https://farm.example.org:8443.")]
Pool = Annotated[str, typer.Option("--pool", metavar="NAME", help="The pool of farm.toml that the machine belongs to.")]
Slots = Annotated[int | None, typer.Option("--slots", metavar="N", help="Tasks at once; as many as cores if not told.")]
Hold = Annotated[str, typer.Option("--hold-file", metavar="FILE", help="While this file is there, nothing is worked.")]
Load = Annotated[float, typer.Option("--max-load", metavar="X", help="Nor while the load of others is above X.")]
Nobody = Annotated[bool, typer.Option("--when-nobody", help="Nor while somebody is at the machine.")]
Minutes = Annotated[
    float, typer.Option("--idle", metavar="MIN", help="With --when-nobody: minutes since the last key that count.")
]
Grace = Annotated[
    float, typer.Option("--grace", metavar="S", help="Seconds for running tasks to end when the machine is needed.")
]
PROGRAM, CA, TICKET = "/usr/local/lib/farm/executor.pyz", "/etc/farm/ca.pem", "/etc/farm/ticket"
FOLDER = "/var/lib/farm-standby"

_UNIT = """\
# This machine stands by for the farm at {url}, pool {pool}. Once, before it is enabled:
#   on the farm:      farm ca show > ca.pem && farm token create --join {pool} > ticket
#   on this machine:  useradd --system --create-home --home-dir /var/lib/farm-standby farm
#                     install -D -m 644 ca.pem {ca} && install -D -m 400 -o farm ticket {ticket}
#                     mkdir -p /usr/local/lib/farm
#                     curl --cacert {ca} {url}/v1/executor.pyz -o {program}
[Unit]
Description=Work for the farm at {url}
Wants=network-online.target
After=network-online.target

[Service]
User={user}
ExecStart={command}
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2
KillMode=mixed
TimeoutStopSec=90

[Install]
WantedBy=multi-user.target
"""


def join(
    url: Url,
    pool: Pool,
    ticket: Annotated[
        str, typer.Option("--ticket", metavar="FILE", help="For the first time: `farm token create --join POOL`.")
    ] = "",
    ca: Annotated[str, typer.Option("--ca", metavar="FILE", help="The farm's authority: `farm ca show`.")] = "",
    folder: Annotated[
        str, typer.Option("--folder", metavar="DIR", help="Where this machine's token and work are kept.")
    ] = "",
    slots: Slots = None,
    hold_file: Hold = "",
    max_load: Load = 0,
    when_nobody: Nobody = False,
    idle: Minutes = 10,
    grace: Grace = 60,
    json: JsonOption = False,
) -> int:
    """Until it is ended. Nothing listens. What runs is the light program of `executor.pyz`, which needs only Python."""
    from executors.site.standby import main

    words = _words(url, pool, slots, hold_file, max_load, idle if when_nobody else None, grace)
    places = {"--ticket": ticket, "--ca": ca, "--folder": folder}
    return main([*words, *(word for name, value in places.items() if value for word in (name, value))])


def unit(
    url: Url,
    pool: Pool,
    slots: Slots = None,
    hold_file: Hold = "",
    max_load: Load = 0,
    when_nobody: Nobody = False,
    idle: Minutes = 10,
    grace: Grace = 60,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Who runs it on that machine.")] = "farm",
    json: JsonOption = False,
) -> int:
    """Its first lines say what else that machine needs."""
    if not url.startswith("https://"):
        raise Refusal(f"{url!r} is not https://", "URL", "machines reach a farm elsewhere over TLS only")
    parse_address(url, "URL")
    _check_words({"URL": url, "--pool": pool, "--user": user})
    if not hold_file.isprintable():  # a line of its own in the unit would be a word of its own to systemd
        raise Refusal(f"{hold_file!r} holds a control character", "--hold-file", "choose another file")
    words = _words(url.rstrip("/"), pool, slots, hold_file, max_load, idle if when_nobody else None, grace)
    argv = ["/usr/bin/python3", "-IS", PROGRAM, *words, "--ticket", TICKET, "--ca", CA, "--folder", FOLDER]
    command = shlex.join(argv).replace("%", "%%").replace("$", "$$")
    text = _UNIT.format(
        url=url.rstrip("/"), pool=pool, ca=CA, ticket=TICKET, program=PROGRAM, user=user, command=command
    )
    if json:
        emit({"unit": text})
    else:
        print(text, end="")
    return 0


_WORD = re.compile(r"[A-Za-z0-9._~:/\[\]@+-]+")


def _check_words(given: Mapping[str, str]) -> None:
    """They are put into lines of a unit as they are. Raises Refusal."""
    for name, text in given.items():
        if not _WORD.fullmatch(text) or text.startswith("-"):
            raise Refusal(f"{text[:100]!r} can't be that" if text else "the name is empty", name, "give its plain name")


def _words(
    url: str, pool: str, slots: int | None, hold: str, load: float, idle: float | None, grace: float
) -> list[str]:
    numbers = {"--slots": slots, "--max-load": load, "--when-nobody": idle}
    given = [word for name, value in numbers.items() if value for word in (name, f"{value:g}")]
    given += ["--hold-file", hold] if hold else []
    return ["--join", url, "--pool", pool, *given, "--grace", f"{grace:g}"]
