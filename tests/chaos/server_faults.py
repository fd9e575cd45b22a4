"""What can happen to a farm's PostgreSQL, chosen by a seed."""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg

from tests.chaos.disk import fill
from tests.chaos.file_faults import held_s
from tests.chaos.ground import Ground, Stuck, until
from tests.chaos.line import Line
from tests.chaos.server import Server
from tests.chaos.terrain import Act
from tests.postgres import Postgres, tell

Maker = Callable[[Server, random.Random], Act]


def _wait(seconds: float) -> None:
    Event().wait(seconds)


def _postgres(server: Server) -> Postgres:
    assert server.postgres is not None
    return server.postgres


# ── the server ──


def kill(server: Server, choose: random.Random) -> Act:
    away = choose.uniform(0, 5)

    def act(_ground: Ground) -> None:
        _postgres(server).stop(signal.SIGKILL)
        _wait(away)
        _postgres(server).start()

    return f"server killed {away:.1f} s", act


def kill_backend(server: Server, choose: random.Random) -> Act:
    """One process of it: it throws out everybody and starts anew by itself."""
    which = choose.random()

    def act(_ground: Ground) -> None:
        mine = f"SELECT pid FROM pg_stat_activity WHERE datname = '{server.database}' ORDER BY pid"
        pids = [int(str(pid)) for (pid,) in _postgres(server).sql(mine)]
        if pids:
            tell(pids[int(which * len(pids))], signal.SIGKILL)
        server.revive()

    return "server's process killed", act


def restart(server: Server, choose: random.Random) -> Act:
    away = choose.uniform(0, 3)

    def act(_ground: Ground) -> None:
        _postgres(server).stop()
        _wait(away)
        _postgres(server).start()

    return f"server restarted, away {away:.1f} s", act


def freeze(server: Server, choose: random.Random) -> Act:
    seconds = choose.uniform(0.5, 12)

    def act(_ground: Ground) -> None:
        pids = _postgres(server).pids()
        try:
            for pid in pids:
                tell(pid, signal.SIGSTOP)
            _wait(seconds)
        finally:
            for pid in pids:
                tell(pid, signal.SIGCONT)

    return f"server frozen {seconds:.1f} s", act


def cut(server: Server, choose: random.Random) -> Act:
    """By the server, some times over."""
    pauses = [choose.uniform(0, 0.7) for _ in range(choose.randint(1, 6))]
    statement = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{server.database}'"

    def act(_ground: Ground) -> None:
        for pause in pauses:
            _postgres(server).sql(statement)
            _wait(pause)

    return f"connections ended {len(pauses)} times", act


def read_only(server: Server, choose: random.Random) -> Act:
    seconds = choose.uniform(0.5, 6)

    def act(_ground: Ground) -> None:
        _set(server, "ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            _wait(seconds)
        finally:
            _set(server, "ALTER SYSTEM RESET default_transaction_read_only")

    return f"server read-only {seconds:.1f} s", act


def _set(server: Server, statement: str) -> None:
    _postgres(server).sql(statement)
    _postgres(server).sql("SELECT pg_reload_conf()")


# ── what it stands on ──


def full(server: Server, choose: random.Random) -> Act:
    seconds = choose.uniform(0.3, 5)

    def act(_ground: Ground) -> None:
        assert server.place is not None
        ballast = server.place / "disk" / "ballast"
        fill(ballast)
        _wait(seconds)
        ballast.unlink()
        server.revive()

    return f"server's disk full {seconds:.1f} s", act


def power(server: Server, choose: random.Random) -> Act:
    away = choose.uniform(0, 3)

    def act(_ground: Ground) -> None:
        server.lose_power()
        _wait(away)
        server.regain_power()

    return f"server's power fails {away:.1f} s", act


# ── the line to it ──


def _line(server: Server) -> Line:
    assert server.line is not None
    return server.line


def line_cut(server: Server, choose: random.Random) -> Act:
    pauses = [choose.uniform(0, 0.7) for _ in range(choose.randint(1, 8))]

    def act(_ground: Ground) -> None:
        for pause in pauses:
            _line(server).cut()
            _wait(pause)

    return f"line cut {len(pauses)} times", act


def line_away(server: Server, choose: random.Random) -> Act:
    seconds = choose.uniform(0.5, 6)

    def act(_ground: Ground) -> None:
        _line(server).refuse()
        _wait(seconds)
        _line(server).heal()

    return f"line away {seconds:.1f} s", act


def line_still(server: Server, choose: random.Random) -> Act:
    """Nothing arrives for a while; then all of it does, or it is cut."""
    seconds, ends = choose.uniform(0.5, 12), choose.random() < 0.5

    def act(_ground: Ground) -> None:
        _line(server).hold()
        _wait(seconds)
        if ends:
            _line(server).cut()
        _line(server).heal()

    return f"line still {seconds:.1f} s{', then cut' if ends else ''}", act


def commits(server: Server, choose: random.Random) -> Act:
    """Their answers are lost: they count, and the farm can't know it."""
    number = choose.randint(1, 6)

    def act(_ground: Ground) -> None:
        _line(server).swallow(number)
        _wait(2)
        _line(server).heal()

    return f"answers of {number} commits lost", act


# ── other sessions ──


@contextmanager
def _session(server: Server) -> Iterator[Any]:
    with psycopg.connect(_postgres(server).dsn(server.database)) as connection:
        yield connection
        connection.rollback()


def locked(server: Server, choose: random.Random) -> Act:
    seconds, table = held_s(choose), choose.choice(["task", "task", "attempt", "job", "meta", "executor"])

    def act(_ground: Ground) -> None:
        with _session(server) as session:
            session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            _wait(seconds)

    return f"{table} locked {seconds:.1f} s", act


_WAITS = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = %s::regclass AND pid <> pg_backend_pid()"
_HOLDS = """SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r'
    WHERE l.granted AND l.pid = %s AND c.relnamespace = 'public'::regnamespace AND c.relname <> %s
    ORDER BY l.mode <> 'RowExclusiveLock', c.relname"""


def deadlock(server: Server, choose: random.Random) -> Act:
    """Another session holds what the farm wants, and then wants what the farm holds."""
    table = choose.choice(["task", "attempt", "job"])

    def act(_ground: Ground) -> None:
        with _session(server) as session:
            session.execute("SET deadlock_timeout = '20s'")  # the farm's session sees it first, and gives way
            session.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            try:
                (pid,) = until(lambda: session.execute(_WAITS, (table,)).fetchone(), 10, "the farm waits")
            except Stuck:  # it has nothing to write just now
                return
            if held := session.execute(_HOLDS, (pid, table)).fetchone():
                _cross(session, str(held[0]))

    return f"deadlock at {table}", act


def _cross(session: Any, table: str) -> None:
    try:
        session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    except psycopg.errors.DeadlockDetected:
        session.rollback()


_FAILS = """CREATE OR REPLACE FUNCTION chaos_fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF random() < 0.5 THEN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF;
  RETURN NULL; END $$"""
_TRIGGERS = {
    "change": "CREATE TRIGGER chaos AFTER INSERT OR UPDATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION chaos_fails()",
    "commit": "CREATE CONSTRAINT TRIGGER chaos AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION chaos_fails()",
}


def serialisation(server: Server, choose: random.Random) -> Act:
    """What a server says that has let another session go first: every other change, or commit, is in vain."""
    seconds, what, table = choose.uniform(0.3, 4), choose.choice(list(_TRIGGERS)), choose.choice(["task", "job"])

    def act(_ground: Ground) -> None:
        _postgres(server).sql(_FAILS, server.database)
        _postgres(server).sql(_TRIGGERS[what].format(table=table), server.database)
        try:
            _wait(seconds)
        finally:
            _postgres(server).sql("DROP FUNCTION chaos_fails CASCADE", server.database)

    return f"serialisation fails {seconds:.1f} s at {what} of {table}", act


SESSIONS: tuple[Maker, ...] = (locked, deadlock, serialisation)
ITSELF: tuple[Maker, ...] = (kill, kill_backend, restart, freeze, cut, read_only)
LINE: tuple[Maker, ...] = (line_cut, line_away, line_still, commits)


def makers(server: Server) -> list[Maker]:
    """All that can happen to this one. Each kind of server has one thing, or some, that others have not: so these weigh
    as much as the rest together."""
    own: list[Maker] = [*(LINE if server.lined else ())]
    own += [full] * 3 if server.ground == "small disk" else [power] * 3 if server.ground == "own disk" else []
    return [*SESSIONS, *ITSELF, *own]
