"""Whether a decoded report can be believed in form: types, ranges, names. What it says is checked by the queue."""

import math
import re
from collections.abc import Iterable

from executors.contract import Event, EventKind, FileRef, Ready, Running
from executors.site.protocol import Report
from farm.model import BIG

LONGEST_WAIT_S = 120
LONGEST_SPOOL = 1 << 42  # bytes; what file systems hold in one file is more
_NANO = 2**63 - 1  # nanoseconds since the epoch, and what databases hold
_ATTEMPT = re.compile(r"[1-9][0-9]{0,17}(\.[1-9][0-9]{0,17}){2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,200}")


def check(report: Report) -> None:
    """Raises ValueError, saying what is wrong."""
    _name(report.session, "session")
    for number, what in ((report.term, "term"), (report.received, "received"), (report.protocol, "protocol")):
        _whole(number, what)
    _whole(report.now, "now", 0, _NANO)
    if type(report.wait_s) not in (int, float) or not 0 <= report.wait_s <= LONGEST_WAIT_S:
        raise ValueError(f"wait_s is not within 0…{LONGEST_WAIT_S}")
    for ready in report.ready:
        _ready(ready)
    for executor in (*report.lost, *report.events):
        _name(executor, "an executor")
    for running in report.snapshot or ():
        _running(running)
    for process in report.processes:
        _process(process)
    for events in report.events.values():
        _events(events)


def _events(events: Iterable[Event]) -> None:
    for event in events:
        _whole(event.seq, "seq", 1)
        if event.attempt:
            _attempt(event.attempt)
        if event.spool:
            _name(event.spool, "spool")
        for number in (event.token, event.at, event.started):
            _whole(number, "a time or token", 0, _NANO)
        for number in (event.cpu_ms, event.rss_kib, event.lo, event.hi):
            _whole(number, "a measure")
        _whole(event.exit, "exit", -(2**31), 2**31)
        _text(event.cause, "cause")
        _text(event.message, "message")
        _range(event)
        for output in event.outputs:
            _output(output)


def _range(event: Event) -> None:
    begun = event.kind is EventKind.STARTED  # it knows where its output begins, and not yet where it ends
    if (event.lo > event.hi and not begun) or (
        event.data and (len(event.data) != event.hi - event.lo or not event.spool)
    ):
        raise ValueError(f"event {event.seq} has bytes that are not those of its range")
    if event.hi > LONGEST_SPOOL:
        raise ValueError(f"event {event.seq} has a range beyond {LONGEST_SPOOL} bytes")


def _output(output: FileRef) -> None:
    _text(output.path, "the path of an output")
    if not isinstance(output.digest, str) or not _DIGEST.fullmatch(output.digest):
        raise ValueError("the digest of an output is none")
    _whole(output.size, "the size of an output")
    _whole(output.mode, "the mode of an output", 0, 0o7777)


def _ready(ready: Ready) -> None:
    _name(ready.executor, "an executor")
    _whole(ready.slots, "slots", 1, 1 << 20)
    _whole(ready.pid, "pid")
    _text(ready.node, "node")


def _running(running: Running) -> None:
    _name(running.executor, "an executor")
    _attempt(running.attempt)
    _whole(running.token, "token", 0, _NANO)
    _text(running.state, "state")


def _process(process: object) -> None:
    """It is shown as it is: plain values under plain keys."""
    if not isinstance(process, dict):
        raise ValueError("a process is no object")
    for key, value in process.items():
        _text(key, "a key of a process")
        if isinstance(value, str):
            _text(value, f"{key} of a process")
        elif not (value is None or (isinstance(value, int | float) and math.isfinite(value))):
            raise ValueError(f"{key} of a process is neither a text nor a number")


def _whole(number: object, what: str, least: int = 0, most: int = BIG) -> None:
    if type(number) is not int or not least <= number <= most:
        raise ValueError(f"{what} is no whole number within {least}…{most}")


def _attempt(text: object) -> None:
    if not isinstance(text, str) or not _ATTEMPT.fullmatch(text):
        raise ValueError(f"{str(text)[:40]!r} is no attempt")


def _name(text: object, what: str) -> None:
    _text(text, what)
    if not isinstance(text, str) or not _NAME.fullmatch(text) or text in (".", ".."):
        raise ValueError(f"{str(text)[:40]!r} is no name of {what}")


def _text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{what} is no text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} is not UTF-8") from None
