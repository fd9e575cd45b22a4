"""PostgreSQL: how it is reached, who may write, and in a sentence why it can't be used just now."""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

OLDEST = 15  # the oldest server that the tests run on
_FARM = 0x6661726D  # the first half of the keys of our advisory locks
_WRITER, _SERVICE = 1, 2
CHANNEL = "farm"
NEWS = "farm_news"  # from the leader to who serves the API beside it
HEARD_S = 3.0  # a notification of our own comes sooner
NO_SESSION = (
    "a PgBouncer gives the farm another session for each transaction, and a process that stays needs one of its own; "
    "set pool_mode = session for this database, or name the server itself"
)
IDLE_S = 60  # a process that was frozen in the middle of a transaction keeps the others from writing no longer

_SETTINGS = {
    "idle_in_transaction_session_timeout": f"{IDLE_S * 1000}",
    "default_transaction_isolation": "read committed",
    "jit": "off",  # it compiles for a second what then takes a millisecond: tables that nobody analysed look large
    "tcp_keepalives_idle": "10",  # a farm that went without a word holds its locks no longer than this and three tries
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_REACHED: dict[str, Any] = {
    "connect_timeout": 10,
    "fallback_application_name": "farm",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms: a server that went without a word is noticed
}


def engine(url: URL, patience_s: float) -> Engine:
    """Pooled. `?prepare_threshold=none` in the URL switches prepared statements off; behind a PgBouncer they are off
    unless it names a number: not every one keeps them."""
    threshold, said = str(url.query.get("prepare_threshold", "5")), "prepare_threshold" in url.query
    plain = url.set(drivername="postgresql+psycopg").difference_update_query(["prepare_threshold"])
    made = create_engine(
        plain,
        pool_size=10,
        max_overflow=20,
        pool_timeout=patience_s,
        pool_pre_ping=True,  # one that a restart of the server has cut is not handed out
        connect_args={**_REACHED, "prepare_threshold": int(threshold) if threshold.isdigit() else None},
    )

    @event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.adapters.register_loader("numeric", _plain_numbers())
        if not said and pooled(connection):
            connection.prepare_threshold = None
        _set(connection, {**_SETTINGS, "lock_timeout": f"{patience_s * 1000:.0f}"})
        connection.commit()

    @event.listens_for(made, "handle_error")
    def _move_on(context: Any) -> None:
        if _state(context.original_exception) == _READ_ONLY:  # after a fail-over the next one may reach the new primary
            context.is_disconnect = True

    return made


def pooled(connection: Any) -> bool:
    """Whether a PgBouncer stands between this (psycopg) connection and the server: it has numbers of its own."""
    return bool(connection.execute("SELECT pg_backend_pid()").fetchone()[0] != connection.info.backend_pid)


def keeps_session(connection: Any, tell: Callable[[str], None]) -> bool:
    """Whether what is said by this (psycopg) connection, which commits each statement, is of one session of the server.
    `tell` says NOTIFY for a channel by another connection."""
    if not pooled(connection):
        return True
    channel = f"farm_{secrets.token_hex(8)}"
    connection.execute(f"LISTEN {channel}")
    tell(channel)
    heard = any(True for _ in connection.notifies(timeout=HEARD_S, stop_after=1))
    connection.execute(f"UNLISTEN {channel}")
    return heard


@cache
def _plain_numbers() -> type[Any]:
    """The sum of integers is an integer here, too: PostgreSQL calls it numeric, of which Python makes a Decimal."""
    from psycopg.adapt import Loader

    class _Plain(Loader):
        def load(self, data: Any) -> int | float:
            text = bytes(data)
            return int(text) if text.lstrip(b"-").isdigit() else float(text)

    return _Plain


def shown(url: URL) -> str:
    """The URL as people may see it: a password can stand in two places."""
    hidden = url.difference_update_query([key for key in url.query if "password" in key])
    return hidden.set(drivername="postgresql").render_as_string().replace("%2F", "/")


def only_writer(tx: Connection) -> None:
    """Wait until nobody else writes, in whatever process; until the end of the transaction."""
    tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_FARM}, {_WRITER})")


def term(tx: Connection) -> int:
    """That of the service that began last; 0 before the first. On SQLite, too."""
    found = tx.exec_driver_sql("SELECT value FROM meta WHERE key = 'term'").scalar_one_or_none()
    return int(found or 0)


def now(tx: Connection) -> datetime:
    """By the server's clock."""
    found: datetime = tx.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return found


def announce(tx: Connection) -> None:
    """Wake the service, once this is committed; whatever process that is."""
    tx.exec_driver_sql(f"NOTIFY {CHANNEL}")


def tell_news(tx: Connection) -> None:
    """Something moved, and it was the leader's doing."""
    tx.exec_driver_sql(f"NOTIFY {NEWS}")


def hear_news(connection: Any) -> None:
    """This (psycopg) connection is told of every change of anybody from now on."""
    _set(connection, _SETTINGS)
    connection.execute(f"LISTEN {NEWS}")
    connection.execute(f"LISTEN {CHANNEL}")


def take_service(connection: Any, name: str) -> bool:
    """Whether this (psycopg) connection is now the one service's, for as long as it lives."""
    _set(connection, {**_SETTINGS, "application_name": name})
    connection.execute(f"LISTEN {CHANNEL}")
    row = connection.execute(f"SELECT pg_try_advisory_lock({_FARM}, {_SERVICE})").fetchone()
    return bool(row[0])


def hurry(connection: Any, idle_s: float) -> None:
    """For this (psycopg) connection, see `Database.hurry`."""
    _set(connection, {"idle_in_transaction_session_timeout": f"{idle_s * 1000:.0f}"})
    connection.commit()


def _set(connection: Any, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def _holds(lock: int) -> str:
    """Who holds an advisory lock of ours: the rest of a SELECT, with the session as `a`."""
    return (
        " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        f" WHERE l.locktype = 'advisory' AND l.classid = {_FARM} AND l.objid = {lock} AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def who_serves(connection: Any) -> str:
    """The service's name for itself; empty when there is none."""
    row = connection.execute(f"SELECT a.application_name{_holds(_SERVICE)}").fetchone()
    return str(row[0]) if row else ""


def served(tx: Connection) -> int:
    """The session by which a service has this database, answering or not; 0 when there is none."""
    return int(tx.exec_driver_sql(f"SELECT a.pid{_holds(_SERVICE)}").scalar() or 0)


def oust(tx: Connection, still_s: float) -> None:
    """End the sessions of a service that stands still: the one that is its claim, and one in which it was writing.

    Whoever else keeps all writers waiting for so long, without a word to the server, is taken for it."""
    idle = f"a.state_change < clock_timestamp() - make_interval(secs => {still_s})"
    for held in (_holds(_SERVICE), f"{_holds(_WRITER)} AND {idle}"):
        tx.exec_driver_sql(f"SELECT pg_terminate_backend(a.pid){held} AND a.pid <> pg_backend_pid()")


def unfit(tx: Connection) -> str:
    """Why this server can't hold a farm, as `what; remedy`; empty when it can."""
    version, encoding = tx.exec_driver_sql(
        "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding')"
    ).one()
    if version < OLDEST:
        return f"PostgreSQL {version} is too old; use version {OLDEST} or newer"
    if encoding != "UTF8":
        return f"the database holds {encoding}, and names are UTF-8; create it with ENCODING 'UTF8' TEMPLATE template0"
    return ""


@contextmanager
def alone(engine: Engine) -> Iterator[Any]:
    """A psycopg connection beside the pool, which commits each statement. Raises psycopg.OperationalError."""
    import psycopg

    words, about = engine.dialect.create_connect_args(engine.url)
    with psycopg.connect(*words, **{**_REACHED, **about}, autocommit=True) as connection:
        yield connection


# ── what it says ──

_READ_ONLY = "25006"
_BACK = "the farm goes on by itself when it is back"
_FULL = "53100"
_SAID: dict[str, str] = {
    _READ_ONLY: "the database server takes no changes (a standby, or default_transaction_read_only); "
    "name the primary, or all of them with target_session_attrs=read-write",
    _FULL: "the database server's disk is full; make room on it: nothing was kept",
    "53300": "the database server has no connection left; raise its max_connections or end other programs",
    "53200": "the database server is out of memory; look at its log",
    "55P03": "another session holds rows or tables of the farm locked; see pg_stat_activity, end it and try again",
    "40P01": "another session's locks crossed with the farm's; try again",
    "40001": "another session changed the same rows at the same time; try again",
    "25P03": "the farm stood still for a minute in the middle of a change, which was undone; try again",
    "57014": "the database server gave a statement up; look at its statement_timeout",
    "57P01": f"the database server is shutting down; {_BACK}",
    "57P02": f"the database server crashed and starts anew; {_BACK}",
    "57P03": f"the database server is starting; {_BACK}",
    "42501": "the farm's role may not do that in the database; make it the owner of the database",
    "42P01": "a table of the farm is missing; `farm database migrate`, or restore a backup",
    "42703": "a column of the farm is missing; `farm database migrate`, or use the farm that made this database",
}
_WORDS = (  # of a connection that was refused there is no more than a text
    (r"too many clients|remaining connection slots|too many connections", _SAID["53300"]),
    (r"is starting up|not yet accepting|recovery", _SAID["57P03"]),
    (r"is shutting down", _SAID["57P01"]),
    (r"read-write|is read-only|session is not", _SAID[_READ_ONLY]),
    (
        r'database "[^"]*" does not exist',
        "there is no such database; create it: createdb --encoding UTF8 --template template0 NAME",
    ),
    (
        r"password authentication|no password|authentication failed|role .* does not exist|pg_hba",
        "the database server does not let the farm in; look at the user of the URL, at pg_hba.conf and ~/.pgpass",
    ),
    (
        r"could not translate|Name or service|resolve|Connection refused|No such file|timeout|timed out|unreachable",
        f"the database server can't be reached; start it, or look at the URL: {_BACK}",
    ),
    (r"No space left", _SAID[_FULL]),
)


def said(error: DBAPIError) -> str:
    """Why PostgreSQL can't be used, as `what; remedy`; empty for what is a defect of ours. Never a password."""
    return sentence(error.orig, error.connection_invalidated)


def sentence(error: BaseException | None, lost: bool = False) -> str:
    """Of what psycopg raised; `lost`: it came with the end of the connection."""
    state = _state(error)
    if state in _SAID:
        return _SAID[state]
    text = " ".join(str(error).split())
    for pattern, found in _WORDS:
        if state is None and re.search(pattern, text):
            return found
    line = state is None and type(error).__name__ == "OperationalError"  # the line says it, not the server
    if lost or line or (state or "")[:2] in ("08", "57", "53", "58", "XX"):
        return f"the connection to the database was lost: {first_line(error)}; {_BACK}"
    return ""


def full(error: DBAPIError) -> bool:
    """Whether the server's disk is full."""
    return said(error) == _SAID[_FULL]


def passing(error: DBAPIError) -> bool:
    """Whether the same again is likely to succeed at once: a deadlock, a serialisation failure."""
    return _state(error.orig) in ("40P01", "40001")


def first_line(error: BaseException | None) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def returns(error: DBAPIError) -> bool:
    """Whether it is likely to work again without anybody's doing: asking again is worth while."""
    return said(error).endswith(_BACK) or passing(error) or _state(error.orig) in (_READ_ONLY, "53300", "25P03")


def _state(error: BaseException | None) -> str | None:
    found = getattr(error, "sqlstate", None)
    return str(found) if found else None
