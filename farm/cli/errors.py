"""From whatever was raised to a sentence and an exit status; never a traceback."""

import errno
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from farm.cli.output import NOTHING_QUEUED, TOLD, clean, say, silence
from farm.home import Home
from farm.refusal import Refusal, Unavailable

INTERRUPTED = 130


def guarded(act: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; its exit status, or that of what went wrong."""
    if sys.stdout is None:  # closed by who started us
        sys.stdout = open(os.devnull, "w")
    try:
        status = act(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:
        if "--wait" in own(arguments) and stop.args != (TOLD,):
            say(f"\n{NOTHING_QUEUED}")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes the one into the other
        silence()
        return 0
    except Refusal as refusal:
        return tell(refusal, arguments)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF) or error.filename:
            return tell(_unexpected(error, arguments), arguments)
        silence()
        return tell(Unavailable(f"the output can't be written: {error.strerror}"), [])
    except Exception as error:
        return tell(_usage(error, arguments) or _unexpected(error, arguments), arguments)


def tell(refusal: Refusal, arguments: list[str]) -> int:
    """The error on stderr, with --json also on stdout; its exit status: 2 the request's fault, 3 the farm's."""
    if "--json" in own(arguments):
        said = {"what": refusal.what, "where": refusal.where, "remedy": refusal.remedy}
        print(json.dumps({"error": said}), flush=True)
    print(f"farm: {_one_line(refusal)}", file=sys.stderr, flush=True)
    return 3 if refusal.status == 401 or refusal.status >= 500 else 2


def _one_line(refusal: Refusal) -> str:
    """Names in it come from other people, line feeds and all; the program's own name stands before it already."""
    return re.sub(r"\s*\n\s*", " ", clean(str(refusal)).strip()).removeprefix("farm ").removeprefix("farm: ")


def own(arguments: list[str]) -> list[str]:
    """The arguments before `--`: what follows belongs to the submitted command."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _usage(error: Exception, arguments: list[str]) -> Refusal | None:
    """What typer found wrong with the arguments."""
    import typer

    if not isinstance(error, typer.TyperException):
        return None
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "farm"
    near = sorted(getattr(error, "possibilities", None) or ())
    remedy = f"did you mean {near[0]}?" if near else f"type `{path} --help` for what it takes"
    message = error.message if near else error.format_message()
    return Refusal(_sentence(message), path, remedy)


def _sentence(message: str) -> str:
    text = message.strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _unexpected(error: Exception, arguments: list[str]) -> Refusal:
    """A defect of ours: the traceback goes to the home, where it can be read and sent."""
    first = next(iter(str(error).splitlines()), "")
    what = f"something unexpected happened: {type(error).__name__}: {first}"
    place = _kept(_trace(error, arguments), arguments)
    if place is None:
        return Unavailable(what, remedy="the details could not be written down either: try another --home")
    return Unavailable(what, remedy=f"the details are in {place}: please report them if it happens again")


def _kept(trace: str, arguments: list[str]) -> Path | None:
    """In the home, or where there is none here, as with a farm elsewhere, in a file of its own."""
    import tempfile

    try:
        place = Home.find(_given_home(arguments)).path / "error.log"
        with place.open("a") as log:
            log.write(trace)
        return place
    except OSError:
        pass
    try:
        with tempfile.NamedTemporaryFile("w", prefix="farm-error-", suffix=".log", delete=False) as file:
            file.write(trace)
    except OSError:
        return None
    return Path(file.name)


def _trace(error: Exception, arguments: list[str]) -> str:
    import traceback

    return f"farm {' '.join(arguments)}\n{''.join(traceback.format_exception(error))}\n"


def _given_home(arguments: list[str]) -> str | None:
    """--home as typed, found without parsing: the parser may be what failed."""
    words = own(arguments)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--home="):
            return word.removeprefix("--home=")
        if word == "--home":
            return following or None
    return None
