"""`farm database check`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import clean, emit
from farm.cli.reach import home_of
from farm.home import Home
from farm.refusal import Unavailable

if TYPE_CHECKING:
    from farm.integrity import Finding


def check(
    files: Annotated[bool, typer.Option("--files", help="Also look whether the store has every output.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Looks at the pages, the schema, and whether rows, states, counters and the bill agree. Changes nothing, and may
    run beside the service. Exit 0 when all is well, 3 with findings."""
    from farm.integrity import examine

    place = home_of(home, "database check")
    if not place.database.exists():
        raise Unavailable("there is no database yet", str(place.path), "`farm up` or a first `farm submit` makes it")
    findings = list(examine(place.database, _store(place) if files else None))
    if json:
        emit({"ok": not findings, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(place, findings)
    return 3 if findings else 0


def _print(home: Home, findings: "list[Finding]") -> None:
    if not findings:
        print(f"the database is as it should be: {home.database}")
    for finding in findings:
        print(clean(f"{finding.rule}: {finding.what}; {finding.remedy}"))


def _store(home: Home) -> Callable[[str], bool]:
    from farm.store import open_store

    return open_store(home.store).has
