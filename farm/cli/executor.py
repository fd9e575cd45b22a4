"""`farm executor`: this machine becomes an executor of a farm elsewhere."""

from typing import Annotated

import typer

from farm.cli.options import JsonOption
from farm.refusal import Refusal, Unavailable


def executor(
    ticket: Annotated[str, typer.Option("--ticket", metavar="FILE", help="The invitation; - is the standard input.")],
    folder: Annotated[
        str,
        typer.Option("--folder", metavar="DIR", help="Where the work's files are kept; below /var/tmp if not told."),
    ] = "",
    json: JsonOption = False,
) -> int:
    """Works until the farm has no more use for it, and leaves nothing. Nothing listens but on loopback."""
    from executors.site.elsewhere import BAD_TICKET, CannotJoin, join

    try:
        join(ticket, folder or None)
    except CannotJoin as error:
        if error.status == BAD_TICKET:
            raise Refusal(str(error)) from error
        raise Unavailable(str(error)) from error
