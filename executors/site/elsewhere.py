"""How a machine becomes an executor of a farm elsewhere.

    python3 executor.pyz --ticket FILE        (- reads it from the standard input)

It looks whether it can work at all, exchanges the invitation in FILE for a token of its own, and becomes the executor.
What it keeps is in two private folders that go with it. Standard library only; nothing listens but on loopback.
"""

import argparse
import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from executors.invitation import Invitation, NoInvitation, written
from executors.reach import BadAddress
from executors.site.admission import NotAdmitted, admit, tell_failure
from executors.site.fitness import Unfit, check, set_up
from executors.site.place import Place, sweep

BAD_TICKET, BAD_PLACE = 2, 3


class CannotJoin(Exception):
    """One sentence says why. `status` is 2 where the ticket is wrong, 3 where this machine or the farm says no."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


def main(words: Sequence[str] | None = None) -> int:
    """Becomes the executor, or says why not and answers the status of `CannotJoin`."""
    parser = argparse.ArgumentParser(prog="farm executor", description="Work for a farm elsewhere.")
    parser.add_argument("--ticket", required=True, metavar="FILE", help="the invitation; - is the standard input")
    parser.add_argument("--folder", metavar="DIR", help="where the work's files are kept (default: below /var/tmp)")
    options = parser.parse_args(words)
    try:
        join(options.ticket, options.folder)
    except CannotJoin as error:
        _say(str(error))
        return error.status


def join(ticket: str, folder: str | None) -> NoReturn:
    """Become the executor. Raises CannotJoin, which the farm has been told of where it could be."""
    try:
        invitation = Invitation.read(_text(ticket))
    except OSError as error:
        what = f"--ticket {ticket}: it can't be read: {error.strerror}; name the file that holds the ticket"
        raise CannotJoin(what, BAD_TICKET) from error
    except NoInvitation as error:
        raise CannotJoin(f"--ticket {ticket}: {error}", BAD_TICKET) from error
    try:
        _become(invitation, folder, ticket)
    except (Unfit, NotAdmitted, BadAddress, OSError) as error:
        with contextlib.suppress(BadAddress):
            if not isinstance(error, NotAdmitted):
                tell_failure(invitation, str(error))
        what = f"this machine can't join the farm as {invitation.executor}: {error}"
        raise CannotJoin(what, BAD_PLACE) from error


def _text(file: str) -> str:
    return written(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())


def _say(text: str) -> None:
    sys.stderr.write(f"farm: {text}\n")
    sys.stderr.flush()


def _become(invitation: Invitation, folder: str | None, ticket: str) -> NoReturn:
    sweep()
    place = Place(invitation, folder)
    try:
        ray = check(invitation, place.folder)
        set_up(invitation, place.folder)
        admitted = admit(invitation, ray)
    except BaseException:
        place.remove()
        raise
    _forget_secret(ticket, invitation)
    file = place.furnish(invitation, admitted.token, admitted.lease_s)
    _say(f"{invitation.executor} has joined {invitation.url}")
    root = place.program()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # they hold the token
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    os.execv(sys.executable, [sys.executable, "-P", "-m", "executors.site.executor", "--ticket", str(file)])


def _forget_secret(file: str, invitation: Invitation) -> None:
    """It has been exchanged; what is of no use to us is of none to a thief."""
    if file != "-" and os.path.isfile(file):
        with contextlib.suppress(OSError):
            Path(file).write_text(replace(invitation, secret="").text())


if __name__ == "__main__":
    sys.exit(main())
