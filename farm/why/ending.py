"""How a task or an attempt failed: the cause, and the words for it."""

from typing import Any

from farm.durations import format_duration
from farm.queue.verdict import HOSTS
from farm.sizes import format_size
from farm.tables import AnyRow
from farm.why.cause import LIMITS, REPORTED, Cause


def ending(row: AnyRow, step: AnyRow) -> tuple[Cause, str]:
    """Of an ended task's or attempt's row."""
    cause = _cause(row)
    return cause, str(row.message) or _words(cause, row, step)


def everywhere(task: AnyRow, step: AnyRow) -> bool:
    """It had retries left, and yet failed: on several executors."""
    hosts = len(task.failed_on or ())
    return bool(task.failures <= step.retries and hosts >= min(step.retries + 1, HOSTS) and hosts > 1)


def limits(row: AnyRow, step: AnyRow) -> dict[str, Any]:
    """The limits that were set, and what is known of what was used."""
    found = {
        "timeout_s": step.timeout_s,
        "silence_s": step.template.get("silence_s", 0),
        "output_bytes": step.template.get("output_bytes", 0),
        "memory_bytes": step.memory,
        "processes": step.template.get("processes", 0),
    }
    used = {"cpu_s": row.cpu_ms / 1000, "rss_mib": round(row.rss_kib / 1024, 1), "exit": row.exit}
    return {name: value for name, value in found.items() if value} | used


def _cause(row: AnyRow) -> Cause:
    if row.cause:
        return REPORTED.get(row.cause, Cause.EXIT)
    if "maybe out of memory" in row.message:
        return Cause.MAYBE_MEMORY
    return Cause.SIGNAL if row.exit is not None and row.exit < 0 else Cause.EXIT


def _words(cause: Cause, row: AnyRow, step: AnyRow) -> str:
    if cause in LIMITS:
        return _beyond(cause, limits(row, step))
    words = {
        Cause.NO_PROGRAM: "there is no such program",
        Cause.CWD: "its working folder is not there",
        Cause.DISK: "its executor's disk was full",
        Cause.INPUTS: "an input could not be fetched",
        Cause.SECRET: "a secret of it could not be read",
        Cause.OUTPUTS: "its outputs could not be kept",
        Cause.LOST: "its executor was lost",
        Cause.REQUEUED: "it was ended to run again elsewhere",
        Cause.SIGNAL: f"ended by signal {-(row.exit or 0)}",
    }
    return words.get(cause, f"exit {row.exit}")


def _beyond(cause: Cause, had: dict[str, Any]) -> str:
    if cause == Cause.TIMEOUT:
        return f"it ran longer than its limit of {format_duration(had.get('timeout_s', 0))}"
    if cause == Cause.SILENCE:
        return f"it wrote nothing for {format_duration(had.get('silence_s', 0))}"
    if cause == Cause.OUTPUT:
        return f"it wrote more than {format_size(had.get('output_bytes', 0))}"
    if cause == Cause.MEMORY:
        return f"it needed more memory than {format_size(had.get('memory_bytes', 0))}"
    return f"it started more than {had.get('processes', 0)} processes"
