"""What a machine elsewhere is given to join a farm with: a few words that fit into user data, a pod or a console."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

PROTOCOL = 1


class NoInvitation(ValueError):
    """The text is no invitation; one sentence says why."""


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
            return cls(**{f.name: raw[f.name] for f in fields(cls) if f.name in raw})
        except (ValueError, TypeError) as error:
            raise NoInvitation(f"this is no invitation of a farm: {error}") from error


Invite = Callable[[str, int], Invitation]
"""Executor to be, its slots → its invitation. Asking again for the same executor gives the same one, so that a launch
which is repeated repeats the same user data."""
