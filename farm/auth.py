"""Tokens, and what they are good for. Only a hash of a secret is kept: who has the database has no token."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select, update

from farm import tables as t
from farm.refusal import NotFound, Refusal
from farm.tables import AnyRow
from farm.wording import nearest


class Scope(StrEnum):
    """What a call needs. People are given the first five; the others come with a kind of token."""

    READ = "read"  # look at everything
    SUBMIT = "submit"  # bring work in
    OWN = "own"  # act on one's own jobs
    OPERATE = "operate"  # act on all jobs, pools and executors
    ADMIN = "admin"  # tokens, certificates, going down, pruning
    FETCH = "fetch"  # files of the store by their digest
    STORE = "store"  # files into the store
    SYNC = "sync"  # speak for a site
    JOIN = "join"  # be exchanged for a token of a machine's own
    STANDBY = "standby"  # wait for work as an owned machine
    PUBLIC = "public"  # nothing: everybody may


class Kind(StrEnum):
    """Whom a token is for."""

    HOME = "home"  # the farm's own user; the file `token` of the home
    PERSON = "person"
    MACHINE = "machine"  # one executor
    JOIN = "join"  # a machine that comes by itself, once
    STANDBY = "standby"  # a machine that came by itself


GIVEN = (Scope.READ, Scope.SUBMIT, Scope.OWN, Scope.OPERATE, Scope.ADMIN)
_LOOK = {Scope.PUBLIC, Scope.READ, Scope.FETCH}
_INCLUDED: Mapping[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset(_LOOK),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.STORE, *_LOOK}),
    Scope.OWN: frozenset({Scope.OWN, *_LOOK}),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.OWN, *_LOOK}),
    Scope.ADMIN: frozenset({*GIVEN, Scope.STORE, *_LOOK}),
}
_OF_KIND: Mapping[Kind, frozenset[Scope]] = {
    Kind.MACHINE: frozenset({Scope.PUBLIC, Scope.SYNC, Scope.FETCH, Scope.STORE}),
    Kind.JOIN: frozenset({Scope.PUBLIC, Scope.JOIN}),
    Kind.STANDBY: frozenset({Scope.PUBLIC, Scope.STANDBY}),
}
_SHAPE = re.compile(r"farm_([0-9a-f]{10})_[A-Za-z0-9_-]{43}", re.ASCII)
_ADD = insert(t.Token)
_ONE = select(t.Token).where(t.Token.id == bindparam("i"))
_ALL = select(t.Token).order_by(t.Token.created, t.Token.id)
_REVOKE = (
    update(t.Token)
    .where(t.Token.id == bindparam("i"), t.Token.revoked.is_(None))
    .values(revoked=bindparam("now"))
    .returning(t.Token.id)
)
_ENDED = select(t.Token.executor).join(t.Executor, t.Executor.id == t.Token.executor)
_ENDED = _ENDED.where(t.Token.revoked.is_(None), t.Token.kind == Kind.MACHINE, t.Executor.ended < bindparam("before"))
_REVOKE_MACHINE = (
    update(t.Token)
    .where(t.Token.executor == bindparam("x"), t.Token.revoked.is_(None))
    .values(revoked=bindparam("now"))
    .returning(t.Token.id)
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `token` is the id of the token, never its secret; `pool` and `executor` are a machine's."""

    token: str
    kind: Kind
    owner: str
    scopes: frozenset[Scope]  # with all that they include
    pool: str = ""
    executor: str = ""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Known:
    """A token as the database has it."""

    principal: Principal
    hash: str
    expires: datetime | None
    revoked: datetime | None

    def bad(self, now: datetime) -> str:
        """Why it is good no more; "" while it is."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else ""


def home_principal(owner: str) -> Principal:
    """The farm's own user."""
    return Principal("home", Kind.HOME, owner, granted((Scope.ADMIN,)) | {Scope.SYNC})


def granted(scopes: Collection[Scope]) -> frozenset[Scope]:
    """With all that they include."""
    return frozenset().union(*(_INCLUDED[scope] for scope in scopes))


def token_id(secret: str) -> str:
    """The public part of a secret; "" when it has not the form of one."""
    found = _SHAPE.fullmatch(secret)
    return found[1] if found else ""


def blotted(text: str) -> str:
    """The text without any secret in it: of a token its id is left."""
    return _SHAPE.sub(r"farm_\1_…", text)


def digest(secret: str) -> str:
    """256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, known: Known) -> bool:
    return hmac.compare_digest(digest(secret), known.hash)


def read_scopes(text: str) -> tuple[Scope, ...]:
    """`read,submit` as typed. Raises Refusal."""
    found = []
    for word in (part.strip() for part in text.split(",")):
        if word not in GIVEN:
            raise Refusal(f"there is no scope {word!r}", "--scope", nearest(word, GIVEN))
        found.append(Scope(word))
    return tuple(sorted(set(found), key=GIVEN.index))


def create_token(
    tx: Connection,
    kind: Kind,
    now: datetime,
    *,
    owner: str = "",
    name: str = "",
    scopes: Collection[Scope] = (),
    pool: str = "",
    executor: str = "",
    expires: datetime | None = None,
    by: str = "farm",
) -> tuple[str, str]:
    """(id, secret). The secret is told this once."""
    number = secrets.token_hex(5)
    secret = f"farm_{number}_{secrets.token_urlsafe(32)}"
    row = {"id": number, "hash": digest(secret), "kind": kind, "owner": owner, "name": name, "scopes": list(scopes)}
    tx.execute(_ADD, {**row, "pool": pool, "executor": executor, "created": now, "created_by": by, "expires": expires})
    return number, secret


def create_machine_token(tx: Connection, executor: str, pool: str, now: datetime) -> str:
    """The secret of an executor's own token: good for its own `sync` and for the store."""
    return create_token(tx, Kind.MACHINE, now, pool=pool, executor=executor)[1]


def row_of(tx: Connection, number: str) -> AnyRow | None:
    """By its id."""
    return tx.execute(_ONE, {"i": number}).first()


def find(tx: Connection, number: str) -> Known | None:
    """By its id."""
    row = row_of(tx, number)
    return known(row) if row else None


def known(row: AnyRow) -> Known:
    kind = Kind(row.kind)
    scopes = _OF_KIND.get(kind) or granted([Scope(scope) for scope in row.scopes])
    return Known(Principal(row.id, kind, row.owner, scopes, row.pool, row.executor), row.hash, row.expires, row.revoked)


def tokens(tx: Connection) -> list[AnyRow]:
    """All rows, the oldest first."""
    return list(tx.execute(_ALL))


def revoke(tx: Connection, number: str, now: datetime) -> None:
    """Raises NotFound where there is no such token, or where it was revoked before."""
    if tx.execute(_REVOKE, {"i": number, "now": now}).first() is None:
        raise NotFound(f"there is no token {number[:40]!r} that is good", "token", "see `farm token list`")


def revoke_machine(tx: Connection, executor: str, now: datetime) -> list[str]:
    """The executor is gone: its tokens are good for nothing more. Their ids, for `Tokens.forget`."""
    return [row.id for row in tx.execute(_REVOKE_MACHINE, {"x": executor, "now": now})]


def ended_machines(tx: Connection, before: datetime) -> list[str]:
    """Executors that ended before that, and whose tokens are still good."""
    return list(tx.execute(_ENDED, {"before": before}).scalars())
