"""`farm executor`: this machine becomes an executor of a farm elsewhere."""

from typing import Annotated

import typer


def executor(
    ticket: Annotated[str, typer.Option("--ticket", metavar="FILE", help="The invitation; - is the standard input.")],
    folder: Annotated[
        str,
        typer.Option("--folder", metavar="DIR", help="Where the work's files are kept; below /var/tmp if not told."),
    ] = "",
) -> int:
    """Works until the farm has no more use for it, and leaves nothing. Nothing listens but on loopback."""
    from executors.site.elsewhere import main

    return main(["--ticket", ticket, *(["--folder", folder] if folder else [])])
