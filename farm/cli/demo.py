"""`farm demo`: the story of `make demo`, also on machines elsewhere. It is part of the source, not of the wheel."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.options import JsonOption
from farm.refusal import Refusal, Unavailable
from farm.wording import nearest

SOURCE = Path(__file__).parents[2]
KINDS = ("local", "static", "ec2", "kubernetes", "vmclone")


def demo(
    on: Annotated[
        str, typer.Option("--on", metavar="KIND", help=f"What the executors are: {', '.join(KINDS)}.")
    ] = "local",
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FOLDER", help="Where film and bill go; demo-out in the source if not told."),
    ] = None,
    json: JsonOption = False,
) -> int:
    """A farm of its own does real work before your eyes, and every claim is checked; exit 1 when one does not hold.
    Elsewhere: a film and packages on machines of that kind, the same at home, equal pixels and wheels, back to zero,
    the bill. Those machines are made on this one, as root; nothing of them is left, Ctrl-C included."""
    check(on, SOURCE)
    words = ["--on", on, *(["--out", str(Path(out).absolute())] if out else []), *(["--json"] if json else [])]
    env = os.environ | {"DEMO_BEGAN": os.environ.get("DEMO_BEGAN") or str(time.time())}
    env.pop("PYTHONSAFEPATH", None)
    os.chdir(SOURCE)
    os.execve(sys.executable, [sys.executable, "-m", "demo", *words], env)


def check(on: str, source: Path) -> None:
    """Raises Refusal when there is no such kind, Unavailable when `source` is not the farm's source."""
    if on not in KINDS:
        raise Refusal(f"there is no kind of machine {on!r}", "--on", nearest(on, KINDS))
    if not (source / "demo/__main__.py").exists() or not (source / "tests/machines/desks").is_dir():
        what = "the demo is part of the farm's source, and this farm was installed without it"
        remedy = "get the source (git clone), and type in it: make env, then .venv/bin/farm demo"
        raise Unavailable(what, remedy=remedy)
