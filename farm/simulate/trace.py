"""A recorded day: when each job came, how long it took, who asked."""

import csv
import math
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from farm.refusal import Refusal

SECOND = 1_000_000  # µs, in which a replay counts
MOST_JOBS = 1_000_000
MOST_S = 1e11  # year 5138: beyond it no calendar goes
LONGEST_S = 366 * 86400.0
COLUMNS = ("arrival", "duration", "name", "source", "cls")
SHOWN = "the first line names the columns: arrival,duration,name,source,cls"


class Job(NamedTuple):
    """One row; `arrival` (unix) and `duration` in µs."""

    number: int
    arrival: int
    duration: int
    name: str
    source: str
    cls: str


def read(path: Path) -> list[Job]:
    """All rows, in the order of their arrival. Raises Refusal that names the line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return _jobs(path, file)
    except OSError as error:
        raise Refusal(f"the trace can't be read: {error.strerror}", str(path), "name a CSV file") from error
    except UnicodeDecodeError as error:
        raise Refusal("the trace is not UTF-8", str(path), "save it as UTF-8") from error
    except csv.Error as error:
        raise Refusal(f"this is no CSV: {error}", str(path), SHOWN) from error


def _jobs(path: Path, file: TextIOWrapper) -> list[Job]:
    rows = csv.DictReader(file, strict=True)
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise Refusal(f"the trace has no column {missing[0]!r}", f"{path} line 1", SHOWN)
    found = [*_rows(path, rows)]
    if not found:
        raise Refusal("the trace has no jobs", str(path), "give it a line for each job")
    return found


def _rows(path: Path, rows: "csv.DictReader[str]") -> Iterator[Job]:
    before = -math.inf
    for number, row in enumerate(rows):
        where = f"{path} line {rows.line_num}"
        if number >= MOST_JOBS:
            raise Refusal(f"the trace has more than {MOST_JOBS:,} jobs", where, "cut it, with head for instance")
        arrival, duration = _number(row, "arrival", where), _number(row, "duration", where)
        _check(arrival, duration, before, where)
        before = arrival
        took = max(1000, round(duration * SECOND))  # a millisecond: nothing takes no time at all
        yield Job(number, round(arrival * SECOND), took, *(row[name] or "" for name in COLUMNS[2:]))


def _number(row: Mapping[str, str | None], column: str, where: str) -> float:
    text = row[column] or ""
    try:
        value = float(text)
    except ValueError as error:
        raise Refusal(f"{column} is {text[:40]!r}, which is no number", where, "write seconds") from error
    if not math.isfinite(value):
        raise Refusal(f"{column} is {text[:40]!r}", where, "write seconds")
    return value


def _check(arrival: float, duration: float, before: float, where: str) -> None:
    if not 0 <= arrival <= MOST_S:
        raise Refusal(f"arrival {arrival:g} is no time", where, "write unix seconds")
    if duration < 0:
        raise Refusal(f"duration {duration:g} is negative", where, "leave out jobs that did not run")
    if duration > LONGEST_S:
        raise Refusal(f"duration {duration:g} is longer than a year", where, "write seconds")
    if arrival < before:
        raise Refusal(f"time runs backwards: {arrival:.3f} comes after {before:.3f}", where, "sort it by arrival")
