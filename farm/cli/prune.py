"""`farm prune`."""

from typing import Annotated

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit
from farm.cli.reach import reader
from farm.sizes import format_size

WORDS = {
    "logs": "files of logs",
    "decisions": "decisions of the policy",
    "refused": "results that came too late",
    "quarantines": "quarantines",
    "tokens": "tokens that were good no more",
    "jobs": "jobs that ended long ago",
    "tasks": "tasks of theirs",
    "executors": "executors that went long ago",
    "durations": "durations of what has not run for long",
    "leftovers": "files of broken uploads",
}


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """What is older than [keep] of farm.toml says. A running farm does it once a day by itself. The bill stays; jobs
    and their tasks go only where [keep] jobs says after how long."""
    with reader(home) as client:
        found = client.post("/v1/prune", {"dry_run": dry_run})
    if json:
        emit(found)
        return 0
    said = [f"{found[name]:,} {words}" for name, words in WORDS.items() if found[name]]
    size = f" ({format_size(found['log_bytes'])} of logs)" if found["log_bytes"] else ""
    verb = "would go" if dry_run else "removed"
    print(f"{verb}: {', '.join(said)}{size}" if said else "nothing is old enough")
    return 0
