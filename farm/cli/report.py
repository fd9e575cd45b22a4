"""`farm report cost`, `farm report usage`."""

import csv
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, table
from farm.cli.reach import reader
from farm.refusal import Refusal

PHASES = ("boot_s", "busy_s", "idle_s", "drain_s")


class By(StrEnum):
    OWNER = "owner"
    PROJECT = "project"
    JOB = "job"
    POOL = "pool"


ByOption = Annotated[By, typer.Option(help="One row for each of these.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="From this time on (ISO 8601, with zone).")]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time.")]


def cost(
    by: ByOption = By.JOB,
    since: SinceOption = None,
    until: UntilOption = None,
    as_csv: CsvOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Every second of every executor is in exactly one row, so that the rows add up to the bill."""
    _one_form(as_csv, json)
    found = _get("cost", by, since, until, home)
    if not (json or as_csv):
        table(("key", *PHASES, "cost"), _rows(found), numbers=(*PHASES, "cost"))
        print(f"total {found['total']} {found['currency']}; always on it would be {found['always_on']}")
        for one in found["budgets"]:
            whose = " ".join(word for word in (one["owner"], one["lane"] and f"in lane {one['lane']}") if word) or "all"
            print(f"budget {one['name']} ({whose}): {one['spent']} of {one['amount']} spent, {one['bound']} bound")
        return 0
    _machine(found, ("key", *PHASES, "cost"), as_csv)
    return 0


def usage(
    by: ByOption = By.JOB,
    since: SinceOption = None,
    until: UntilOption = None,
    as_csv: CsvOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Executor-seconds: one executor for a minute is 60, whatever its slots."""
    _one_form(as_csv, json)
    found = _get("usage", by, since, until, home)
    if not (json or as_csv):
        table(("key", *PHASES), [row[:-1] for row in _rows(found)], numbers=PHASES)
        return 0
    _machine(found, ("key", *PHASES), as_csv)
    return 0


def _one_form(as_csv: bool, json: bool) -> None:
    """Raises Refusal."""
    if as_csv and json:
        raise Refusal("--csv and --json are two forms of the same", "--csv", "leave one of them out")


def _get(report: str, by: By, since: str | None, until: str | None, home: str | None) -> Any:
    with reader(home) as client:
        return client.get(f"/v1/reports/{report}", by=by.value, since=since, until=until)


def _rows(found: Any) -> list[list[Any]]:
    return [[row["key"], *(row[phase] for phase in PHASES), row.get("cost", "")] for row in found["rows"]]


def _machine(found: Any, columns: tuple[str, ...], as_csv: bool) -> None:
    if not as_csv:
        emit(found)
        return
    out = csv.writer(sys.stdout)
    out.writerow(columns)
    out.writerows([row[column] for column in columns] for row in found["rows"])
