"""The shapes of answers about tokens, trust and refusals."""

from collections.abc import Mapping

from farm.api.shape import Shape


class Token(Shape):
    """`state` is good, expired or revoked; `used` is true to the minute."""

    id: str
    kind: str
    state: str
    owner: str
    name: str
    scopes: list[str]
    pool: str
    executor: str
    created: str | None
    created_by: str
    expires: str | None
    used: str | None
    revoked: str | None


class NewToken(Token):
    """The secret is told this once."""

    secret: str


class Tokens(Shape):
    tokens: list[Token]


class RefusedCall(Shape):
    """`token` is the id of the token that was shown, where it has one."""

    at: str
    address: str
    path: str
    why: str
    token: str


class RefusedCalls(Shape):
    """Since the service started: how many, why, and the last ones, the newest first."""

    refused: int
    since: str
    by: Mapping[str, int]
    last: list[RefusedCall]


class Trusted(Shape):
    """A certificate in PEM, and its SHA-256; both "" where there is nothing to be trusted."""

    ca: str
    fingerprint: str


class Rotated(Shape):
    """`until` is when those are cut off who trust only the old one; null: at once."""

    old: str
    fingerprint: str
    until: str | None


class Listening(Shape):
    """Where others reach the farm; `fingerprint` is the SHA-256 of whom they have to trust, "" where everybody does.
    `moved`: the port of last time, where any was asked for and that one was taken."""

    address: str
    port: int
    url: str
    tls: bool
    fingerprint: str
    moved: int | None
