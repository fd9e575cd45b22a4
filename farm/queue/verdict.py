"""What the end of an attempt means for its task: done, out, or another try, and on whose account that goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from executors.contract import Event
from farm.durations import format_duration
from farm.model import AttemptState
from farm.sizes import format_size
from farm.tables import AnyRow

LOSSES = 5  # how often infrastructure may lose a task before it fails
HOSTS = 3  # a task that really failed on so many different executors fails, whatever --retries says
REQUEUED = ("cancelled", "stale-term")  # ends that were neither the task's nor the infrastructure's doing
NO_RETRY = ("no-program", "cwd")
PAUSE = timedelta(seconds=10)  # before a licence is asked for again; doubles
PAUSE_MAX = timedelta(minutes=5)
DISK_PAUSE = timedelta(seconds=2)  # before a task that met a full disk is tried again; doubles


@dataclass(frozen=True, slots=True)
class Verdict:
    """The attempt's state, and what its task's row becomes. `failed`, `lost`, `licences`, `grown` are added to it."""

    state: AttemptState
    again: bool
    cause: str
    message: str
    failed: int = 0
    lost: int = 0
    licences: int = 0
    grown: int = 0
    not_before: datetime | None = None
    licence_since: datetime | None = None
    memory: int = 0  # of the next attempt; 0 is what the step says
    failed_on: Sequence[str] | None = None

    @property
    def real(self) -> bool:
        """The task failed by itself, or its executor is bad."""
        return bool(self.failed)


def verdict(row: AnyRow, event: Event, now: datetime, most_memory: int) -> Verdict:
    """`most_memory`: bytes that the largest executor of any pool has; 0 is unknown."""
    if event.exit == 0 and event.cause == "":
        return Verdict(AttemptState.SUCCEEDED, False, "", event.message)
    if event.cause in ("inputs", "lost"):
        return _lost(row, event, 1)
    if event.cause == "secret":  # neither the task nor its executor has failed, and nothing would change by itself
        return Verdict(AttemptState.FAILED, False, event.cause, event.message, failed_on=row.failed_on)
    if event.cause in REQUEUED:
        return _lost(row, event, 0)
    if event.cause == "disk" and row.losses < LOSSES:
        return _no_room(row, event, now)
    if event.cause == "" and event.exit == row.licence_exit:
        return _no_licence(row, event, now)
    if event.cause == "memory" and not row.grown and (more := _more(row, most_memory)):
        text = f"{event.message or 'out of memory'}; tried once more with {format_size(more)}"
        return Verdict(AttemptState.FAILED, True, event.cause, text, grown=1, memory=more, failed_on=row.failed_on)
    return _failed(row, event)


def _lost(row: AnyRow, event: Event, charged: int) -> Verdict:
    again = row.losses + charged <= LOSSES
    text = event.message
    if not again and event.cause == "lost":
        text = lost_too_often(row.losses + charged, text)
    return Verdict(
        AttemptState.LOST,
        again,
        event.cause,
        text,
        lost=charged,
        memory=row.task_memory,
        failed_on=row.failed_on,
    )


def _no_room(row: AnyRow, event: Event, now: datetime) -> Verdict:
    """Its executor's disk was full, by whomever: infrastructure, which needs a moment to get well."""
    pause = DISK_PAUSE * 2**row.losses
    text = f"{event.message} (exit {event.exit}); tried again after {format_duration(pause.total_seconds())}"
    return Verdict(
        AttemptState.FAILED,
        True,
        event.cause,
        text,
        lost=1,
        not_before=now + pause,
        memory=row.task_memory,
        failed_on=row.failed_on,
    )


def lost_too_often(times: int, last: str) -> str:
    return f"lost {times} times by its executors, last: {last}"


def _no_licence(row: AnyRow, event: Event, now: datetime) -> Verdict:
    """Not an error: it comes again after a pause, until it has waited as long as its step allows."""
    since = row.licence_since or now
    waited = now - since
    if waited >= timedelta(seconds=row.licence_wait_s):
        text = f"no licence for {format_duration(waited.total_seconds())} (exit {event.exit})"
        return Verdict(AttemptState.FAILED, False, "licence", text, failed_on=row.failed_on)
    pause = min(PAUSE * 2 ** min(row.licences, 10), PAUSE_MAX)
    text = f"no licence (exit {event.exit}), asked again after {format_duration(pause.total_seconds())}"
    return Verdict(
        AttemptState.FAILED,
        True,
        "licence",
        text,
        licences=1,
        not_before=now + pause,
        licence_since=since,
        memory=row.task_memory,
        failed_on=row.failed_on,
    )


def _more(row: AnyRow, most_memory: int) -> int:
    """Twice the limit that was too small, as far as any pool goes; 0 when there is no more to be had."""
    had = max(row.task_memory, row.memory)
    more = min(2 * had, most_memory) if most_memory else 2 * had
    return more if more > had else 0


def _failed(row: AnyRow, event: Event) -> Verdict:
    hosts = sorted({*(row.failed_on or ()), row.executor})
    most = min(row.retries + 1, HOSTS)
    text, again = event.message, row.failures < row.retries and event.cause not in NO_RETRY
    if again and len(hosts) >= most:
        reason = text or (f"ended by signal {-event.exit}" if event.exit < 0 else f"exit {event.exit}")
        text, again = f"failed on {len(hosts)} different executors ({', '.join(hosts)}), last: {reason}", False
    return Verdict(AttemptState.FAILED, again, event.cause, text, failed=1, memory=row.task_memory, failed_on=hosts)
