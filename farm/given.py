"""The token that whoever installs a farm gives it, so that it is reached before anybody has typed a command there."""

import os
from pathlib import Path

from sqlalchemy import insert

from farm import tables as t
from farm.auth import Kind, Scope, digest, find, token_id
from farm.clock import Clock
from farm.db import Database
from farm.refusal import Refusal

FILE = "FARM_ADMIN_TOKEN_FILE"
OWNER = "admin"
_ADD = insert(t.Token)


def take_given(db: Database, clock: Clock) -> None:
    """The token in that file becomes an administrator's. Taken once: one that was revoked stays so. Raises Refusal."""
    file = os.environ.get(FILE)
    if not file:
        return
    secret = _read(file)
    number = token_id(secret)
    if not number:
        form = "farm_, ten letters of 0-9a-f, _, and 43 letters or digits"
        raise Refusal("that is no token of a farm", f"{FILE}={file}", f"write one of this form: {form}")
    with db.write() as tx:
        if find(tx, number) is None:
            row = {"id": number, "hash": digest(secret), "kind": Kind.PERSON, "owner": OWNER, "name": "given"}
            scope = {"scopes": [Scope.ADMIN], "pool": "", "executor": "", "expires": None}
            tx.execute(_ADD, {**row, **scope, "created": clock.now(), "created_by": FILE})


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        what = f"the administrator's token can't be read: {getattr(error, 'strerror', None) or 'it is not text'}"
        raise Refusal(what, f"{FILE}={file}", "check the path") from error
