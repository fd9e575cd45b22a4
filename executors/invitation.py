"""What a machine elsewhere is given to join a farm with: a few words that fit into user data, a pod or a console."""

import json
from collections.abc import Callable
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any

PROTOCOL = 1


class NoInvitation(ValueError):
    """The text is no invitation; one sentence says why, and what to do. Nobody makes one by hand."""

    def __init__(self, why: str) -> None:
        remedy = "the farm makes one for each machine that it orders: end this one, and it orders another"
        super().__init__(f"this is no invitation of a farm: {why}; {remedy}")


class NoTicket(ValueError):
    """The text is no ticket to join by."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this is no ticket of a farm: {why}; make another: `farm token create --join POOL`")


@dataclass(frozen=True, slots=True)
class Invitation:
    """`secret` is good for one machine, once: it is exchanged for a token of that machine's own.

    `url` is the farm as machines elsewhere reach it, `ca` its certificate authority in PEM ("" on loopback, or where
    the certificate is one that everybody trusts). `setup` is a script that is run once before the first work.
    """

    url: str
    ca: str
    farm: str
    pool: str
    executor: str
    slots: int
    secret: str
    lease_s: float
    engine: str = "ray"
    setup: str = ""
    protocol: int = PROTOCOL

    def text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> "Invitation":
        """Fields of a newer farm are ignored. Raises NoInvitation."""
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NoInvitation("it holds other text") from error
        if not isinstance(raw, dict):
            raise NoInvitation("it holds other text")
        told = {f.name: raw[f.name] for f in fields(cls) if f.name in raw}
        wrong = [f.name for f in fields(cls) if not _fits(f, told)]
        if wrong:
            raise NoInvitation(f"{', '.join(wrong)} is missing or wrong")
        return cls(**told)


_KINDS: dict[object, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def _fits(field: "Field[Any]", told: dict[str, Any]) -> bool:
    if field.name not in told:
        return field.default is not MISSING
    return type(told[field.name]) in _KINDS[field.type]


def written(data: bytes) -> str:
    """The words of an invitation's file. Raises NoInvitation."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NoInvitation("it is not text") from error


Invite = Callable[[str, int], Invitation]
"""Executor to be, its slots → its invitation. Asking again for the same executor gives the same one, so that a launch
which is repeated repeats the same user data."""
