"""What an honest agent in a guest could say. One event that the farm would refuse makes it refuse the whole report of
the site, again and again: so nothing is passed on that it would not take."""

import re
from dataclasses import fields
from typing import Any

from executors.contract import Event, EventKind, FileRef

ATTEMPT = re.compile(r"[1-9][0-9]{0,17}(\.[1-9][0-9]{0,17}){2}")
DIGEST = re.compile(r"[0-9a-f]{64}")
SPOOL = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")
TIME, MEASURE, END = 2**63 - 1, 2**52, 1 << 42  # the most: nanoseconds and tokens, other numbers, bytes of a spool
MOST = {"seq": MEASURE, "token": TIME, "at": TIME, "started": TIME, "exit": 2**31, "lo": END, "hi": END}
NUMBERS = tuple(f.name for f in fields(Event) if f.type in (int, "int"))
TEXTS = tuple(f.name for f in fields(Event) if f.type in (str, "str"))


def honest(event: Event) -> bool:
    return (
        all(_numbers(event, name) for name in NUMBERS)
        and event.seq > 0
        and all(text(getattr(event, name)) for name in TEXTS)
        and (attempt(event.attempt) or (event.kind is EventKind.LOG and not event.attempt))
        and (not event.spool or bool(SPOOL.fullmatch(event.spool)))
        and _range(event)
        and all(map(_output, event.outputs))
    )


def attempt(name: object) -> bool:
    return isinstance(name, str) and bool(ATTEMPT.fullmatch(name))


def whole(number: object, least: int, most: int) -> bool:
    return type(number) is int and least <= number <= most


def text(said: Any) -> bool:
    """Whether it is one, and can be written as UTF-8."""
    try:
        return type(said) is str and bool(said.isascii() or said.encode())
    except UnicodeEncodeError:
        return False


def _numbers(event: Event, name: str) -> bool:
    return whole(getattr(event, name), -(2**31) if name == "exit" else 0, MOST.get(name, MEASURE))


def _range(event: Event) -> bool:
    """Who has started knows where its output begins, and not yet where it ends."""
    if event.kind is EventKind.LOG:
        return bool(event.spool) and type(event.data) is bytes and len(event.data) == event.hi - event.lo
    return event.data == b"" and (event.lo <= event.hi or event.kind is EventKind.STARTED)


def _output(output: FileRef) -> bool:
    return (
        text(output.path)
        and isinstance(output.digest, str)
        and bool(DIGEST.fullmatch(output.digest))
        and whole(output.size, 0, MEASURE)
        and whole(output.mode, 0, 0o7777)
    )
