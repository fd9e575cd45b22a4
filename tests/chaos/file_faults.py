"""What other programs on the machine can do to a farm's SQLite: hold it locked, read for long, make a backup."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing

from farm.integrity import examine
from tests.chaos.ground import Ground
from tests.chaos.terrain import Act

Maker = Callable[[random.Random], Act]

LONG_S = 33  # longer than the farm has patience with another program that writes
_HOLD = """\
import sqlite3, sys, threading
file, seconds, *statements = sys.argv[1:]
connection = sqlite3.connect(file, timeout=60, isolation_level=None)
for one in statements:
    connection.execute(one).fetchall()
threading.Event().wait(float(seconds))
connection.execute("ROLLBACK")
"""


def held_s(choose: random.Random) -> float:
    """How long somebody holds something: mostly some seconds, at times longer than anybody bears it."""
    return LONG_S if choose.random() < 0.2 else choose.uniform(0.5, 6)


def _hold(ground: Ground, seconds: float, *statements: str) -> None:
    """In a process of its own: locks of a file are a process's, not a connection's."""
    words = [sys.executable, "-c", _HOLD, str(ground.home.database), f"{seconds:.2f}", *statements]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 90)
    assert done.returncode == 0, f"another program at the database: {done.stderr}"


def locked(choose: random.Random) -> Act:
    seconds = held_s(choose)
    return f"database locked {seconds:.1f} s", lambda ground: _hold(ground, seconds, "BEGIN IMMEDIATE")


def read(choose: random.Random) -> Act:
    """A view that is kept: until it ends, what is written can't go from the journal into the database."""
    seconds, statements = choose.uniform(0.5, 10), ("BEGIN", "SELECT COUNT(*) FROM task")
    return f"database read {seconds:.1f} s", lambda ground: _hold(ground, seconds, *statements)


def backup(choose: random.Random) -> Act:
    """As `sqlite3 farm.db .backup` does; what it made is a sound database."""
    pages = choose.choice([-1, 20])

    def act(ground: Ground) -> None:
        copy = ground.home.path.parent / "backup.db"
        with closing(sqlite3.connect(ground.home.database, timeout=60)) as source, closing(sqlite3.connect(copy)) as to:
            source.execute("BEGIN")  # one moment, however long it takes
            source.execute("SELECT COUNT(*) FROM task").fetchall()
            source.backup(to, pages=pages, sleep=0.01)
        found = [f"{one.rule}: {one.what}" for one in examine(copy)]
        assert not found, f"the backup: {found}"
        copy.unlink()

    return "backup", act


MAKERS: tuple[Maker, ...] = (locked, read, backup)
