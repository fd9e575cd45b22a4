"""Who serves the API beside the leader: each has a socket of its own, and on PostgreSQL a row that it rewrites."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from executors.site.process import Process
from farm import tables as t
from farm.home import Home
from farm.lease import Member

if TYPE_CHECKING:
    from farm.db import Database

EVERY_S = 2.0
GONE = timedelta(seconds=10)  # who has not said a word for so long is none
FORGOTTEN = timedelta(minutes=10)
_API = "api:"
_ALL = select(t.Meta.key, t.Meta.value).where(t.Meta.key.like(f"{_API}%"))
_SET = update(t.Meta).where(t.Meta.key == bindparam("k")).values(value=bindparam("v"))
_ADD = insert(t.Meta)
_DROP = delete(t.Meta).where(t.Meta.key == bindparam("k"))


def write(tx: Connection, who: Member, now: datetime) -> None:
    """It serves, and did so just now. Takes out those that went long ago without a word."""
    row = {"k": _API + who.id, "v": json.dumps({**asdict(who), "seen": now.isoformat()})}
    if not tx.execute(_SET, row).rowcount:
        tx.execute(_ADD, {"key": row["k"], "value": row["v"]})
        for key, seen, _ in _rows(tx):
            if now - seen > FORGOTTEN:
                tx.execute(_DROP, {"k": key})


def strike(tx: Connection, who: Member) -> None:
    """It serves no longer."""
    tx.execute(_DROP, {"k": _API + who.id})


def present(db: "Database", home: Home, now: datetime) -> list[Member]:
    """Those that serve now; on SQLite they are all in this home."""
    if db.sqlite:
        return [_here(home, path, process) for path, process in living(home)]
    with db.read() as tx:
        return [who for _, seen, who in _rows(tx) if now - seen < GONE]


def _rows(tx: Connection) -> Iterator[tuple[str, datetime, Member]]:
    """Key, when it said so last, and who; those that another version wrote otherwise are left out."""
    for row in tx.execute(_ALL).all():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said: dict[str, Any] = json.loads(row.value)
            yield row.key, datetime.fromisoformat(said.pop("seen")), Member(**said)


# ── sockets of this machine ──


def door(home: Home) -> Path:
    """Where this process is to be reached. Its name tells whether the process is still there."""
    me = Process.of(os.getpid())
    return home.doors / f"{me.pid}-{me.started}.sock"


def living(home: Home) -> list[tuple[Path, Process]]:
    """The sockets of processes that are alive, the oldest first."""
    found = [(path, process) for path in home.doors.glob("*.sock") if (process := _process(path)) and process.alive()]
    return sorted(found, key=lambda one: one[1].started)


def sweep(home: Home) -> None:
    """Remove the sockets of those that were killed."""
    for path in home.doors.glob("*.sock"):
        process = _process(path)
        if process is not None and not process.alive():
            path.unlink(missing_ok=True)


def _process(path: Path) -> Process | None:
    pid, _, started = path.stem.partition("-")
    return Process(int(pid), int(started)) if pid.isdecimal() and started.isdecimal() else None


def _here(home: Home, path: Path, process: Process) -> Member:
    since = ""
    with contextlib.suppress(OSError):  # it goes just now
        since = datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds")
    return Member(path.stem, str(home.path), socket.gethostname(), process.pid, process.started, since, "")
