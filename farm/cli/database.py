"""`farm database check`, `farm database migrate`, `farm database copy`."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import clean, emit
from farm.cli.reach import home_of
from farm.home import Home
from farm.refusal import Unavailable

if TYPE_CHECKING:
    from farm.database_url import Address
    from farm.integrity import Finding


def check(
    files: Annotated[bool, typer.Option("--files", help="Also look whether the store has every output.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Looks at the pages, the schema, and whether rows, states, counters and the bill agree. Changes nothing, and may
    run beside the service. Exit 0 when all is well, 3 with findings."""
    home_ = home_of(home, "database check")
    place = _there(home_)
    findings = _findings(place, _store(home_) if files else None)
    if json:
        emit({"ok": not findings, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(place.where, findings)
    return 3 if findings else 0


def migrate(home: HomeOption = None, json: JsonOption = False) -> int:
    """Brings the schema up to date, beside a running service too; `farm up` does it by itself. A farm of the version
    before works with it as well."""
    from farm.db import migrate, revision

    place = _there(home_of(home, "database migrate"))
    with closing(place.connect()) as db:
        before = revision(db, place.where)
        migrate(db, place.where)
        after = revision(db, place.where)
    if json:
        emit({"before": before, "after": after})
    else:
        print(f"the schema is {after}" + ("" if before == after else f", it was {before or 'empty'}"))
    return 0


def copy(
    target: Annotated[str, typer.Argument(metavar="TO", help="A URL without password, or the path of an SQLite file.")],
    source: Annotated[str | None, typer.Option("--from", help="The same; without it the home's own database.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """All rows, from SQLite to PostgreSQL or back, into an empty database: whole or not at all, compared, and looked
    through at the end. The farm is down meanwhile. Files stay in the home. Exit 3 when something is wrong with it."""
    from farm import database_url as urls
    from farm.database_copy import copy

    to = urls.named(target, "TO")
    place = urls.named(source, "--from") if source is not None else _there(home_of(home, "database copy"))
    if place.path is not None and not place.path.exists():
        raise Unavailable("there is no such database", place.where, "look at --from")
    copied = copy(place, to)
    findings = _findings(to, None)
    if json:
        about = {"from": place.where, "to": to.where, "rows": copied}
        emit({"ok": not findings, **about, "findings": [asdict(finding) for finding in findings]})
        return 3 if findings else 0
    print(f"{sum(copied.values())} rows of {sum(map(bool, copied.values()))} tables are in {to.where}")
    _print(to.where, findings)
    print(f"to use it: FARM_DATABASE_URL, or url below [database] in farm.toml; {place.where} is as it was")
    return 3 if findings else 0


def _there(home: Home) -> "Address":
    """The home's database. Raises Unavailable when there is none yet."""
    from farm.config import load
    from farm.database_url import find

    place = find(home, load(home.config_file))
    if place.path is not None and not place.path.exists():
        raise Unavailable("there is no database yet", str(home.path), "`farm up` or a first `farm submit` makes it")
    return place


def _findings(place: "Address", has: Callable[[str], bool] | None) -> "list[Finding]":
    from farm.integrity import look

    with closing(place.connect()) as db:
        return list(look(db, has))


def _print(where: str, findings: "list[Finding]") -> None:
    if not findings:
        print(f"the database is as it should be: {where}")
    for finding in findings:
        print(clean(f"{finding.rule}: {finding.what}; {finding.remedy}"))


def _store(home: Home) -> Callable[[str], bool]:
    from farm.store import open_store

    return open_store(home.store).has
