"""Secrets by reference: the queue knows where one is, only a work that is handed out holds it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from executors.contract import Work

LEAST, MOST = 4, 65_536  # bytes; a shorter one would blot out half of every log


class Unreadable(Exception):
    """The secret can't be had; one sentence that does not hold it."""


def read(reference: str, environment: Mapping[str, str] = os.environ) -> str:
    """The secret behind `file:/PATH` (a last line feed does not count) or `env:NAME`. Raises Unreadable."""
    kind, _, place = reference.partition(":")
    try:
        found = Path(place).read_text() if kind == "file" else environment[place]
    except KeyError:
        raise Unreadable(f"{reference}: the service has no such variable") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{reference} is no text in UTF-8") from None
    except OSError as error:
        raise Unreadable(f"{reference} can't be read by the service: {error.strerror}") from None
    found = found.removesuffix("\n")
    if not LEAST <= len(found.encode()) <= MOST or "\0" in found:
        raise Unreadable(f"{reference} is no text of {LEAST} to {MOST:,} bytes")
    return found


def filled(work: Work) -> Work:
    """The work with its secrets instead of where they are, or with the reason why it can't begin."""
    if not work.secrets:
        return work
    try:
        return replace(work, secrets={name: read(reference) for name, reference in work.secrets.items()})
    except Unreadable as why:
        return replace(work, secrets={}, unready=f"the secret {why}")
