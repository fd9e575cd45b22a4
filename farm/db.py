"""One database: SQLite by default, PostgreSQL by URL. Where they differ is here and nowhere else."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from farm import postgres
from farm.refusal import Unavailable

HEAD = "0009"  # the newest revision below migrations/
FLOOR = "0007"  # the newest schema of the oldest farm that can work with this one; those before know no needs
PATIENCE_S = 30.0  # with another process that writes
TURN_S = 1.0  # so long one waits for other writers of this process who has a connection of its own
_OURS = ("meta", "job", "task", "attempt", "executor", "ledger")  # tables that every revision has


class BadDatabase(Unavailable):
    """The database at `where` cannot be used; `said` is `what; remedy`."""

    def __init__(self, where: str, said: str) -> None:
        what, _, remedy = said.partition("; ")
        super().__init__(what, where, remedy)


class Superseded(Unavailable):
    """Another service has begun on this database: what this one wants to write is of an older term."""

    def __init__(self, where: str) -> None:
        super().__init__("another service runs on this database by now", where, "see `farm status`")


class Database:
    """Connections for readers and for the one writer of this process."""

    def __init__(self, engine: Engine, where: str = "farm.db") -> None:
        self.engine = engine
        self.where = where  # for people: a path, or a URL without its password
        self.term: int | None = None  # that of this process's service: nobody writes for an older one
        self.sqlite = engine.dialect.name == "sqlite"
        self._writing = threading.Lock()  # SQLite has one writer; waiting here is fair, waiting there is not
        self._doubt = False  # a commit failed: it counts or not, and nobody was told what follows from it
        self.doubted: list[Callable[[], None]] = []  # called once changes are taken again after such a one
        self._again: Callable[[], Database] = lambda: self
        self._beside: Database | None = None
        self._others: threading.Lock | None = None  # the writers of this process whom we are beside

    @classmethod
    def file(cls, path: Path) -> "Database":
        made = cls(_sqlite(path), str(path))
        made._again = lambda: cls(_sqlite(path), str(path))
        return made

    @classmethod
    def url(cls, url: URL | str) -> "Database":
        """A PostgreSQL or SQLite URL."""
        made = make_url(url)
        if made.get_backend_name() == "sqlite":
            return cls.file(Path(str(made.database)))
        found = cls(postgres.engine(made, PATIENCE_S), postgres.shown(made))
        found._again = lambda: cls(postgres.engine(made, PATIENCE_S), postgres.shown(made))
        return found

    @property
    def beside(self) -> "Database":
        """The same, by connections that nobody else takes: for those who must not wait until all others are served."""
        if self._beside is None:
            self._beside = self._again()
            self._beside._others = self._writing
        return self._beside

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write. Never call a provider, or anything else slow, inside."""
        with self._writing, self.engine.connect() as tx:
            self._begin(tx)
            after: list[Callable[[], None]] = []
            tx.info["after"] = after
            with self._committing(tx):
                yield tx
                if not self.sqlite and self.term is None:
                    postgres.announce(tx)
            if self._doubt:
                self._doubt = False
                after = [*self.doubted, *after]
            for callback in after:  # still the only writer: what is announced is in the order of what was written
                callback()

    @contextmanager
    def _committing(self, tx: Connection) -> Iterator[None]:
        try:
            yield
        except BaseException:
            tx.rollback()
            raise
        try:
            tx.commit()
        except BaseException:
            self._doubt = True
            raise

    def _begin(self, tx: Connection) -> None:
        """Raises Superseded."""
        if self.sqlite:
            tx.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            postgres.only_writer(tx)
        self._check_term(tx)

    def _check_term(self, tx: Connection) -> None:
        if self.term is not None and postgres.term(tx) != self.term:
            tx.rollback()
            raise Superseded(self.where)

    def check_term(self) -> None:
        """Before anything is done that no database undoes. Raises Superseded when another service has begun."""
        with self.read() as tx:
            self._check_term(tx)

    def now(self) -> datetime:
        """By the clock of the PostgreSQL server."""
        with (self._beside or self).read() as tx:
            return postgres.now(tx)

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """For rows that nobody else writes: on PostgreSQL each statement counts at once and waits for no other writer.

        On SQLite an ordinary change. Raises Superseded there."""
        if self.sqlite:
            with self._in_turn(), self.write() as tx:
                yield tx
            return
        with self.engine.connect() as tx:
            yield tx.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Among the writers of this process, but not for long: who has the turn may itself wait for a connection."""
        first = self._others is not None and self._others.acquire(timeout=TURN_S)
        try:
            yield
        finally:
            if first and self._others is not None:
                self._others.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that blocks nobody."""
        with self.engine.connect() as tx:
            if self.sqlite:
                tx.exec_driver_sql("BEGIN")
            else:
                tx.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            try:
                yield tx
            finally:
                tx.rollback()

    def hurry(self, idle_s: float) -> None:
        """From now on the server undoes a change of ours in the middle of which we stand still for so long: others
        wait for it. Only on PostgreSQL."""
        event.listen(self.engine, "connect", lambda connection, _record: postgres.hurry(connection, idle_s))
        self.engine.dispose()

    def close(self) -> None:
        self.engine.dispose()
        if self._beside is not None:
            self._beside.close()


def after_commit(tx: Connection, callback: Callable[[], None]) -> None:
    """Call this once the transaction is on disk, before the next writer; never if it is rolled back."""
    tx.info["after"].append(callback)


def _sqlite(path: Path) -> Engine:
    """WAL, and FULL so that power loss loses nothing acknowledged (140 µs alone, 6 µs a task in groups of 100)."""
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": PATIENCE_S},
        pool_size=20,
        max_overflow=40,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=4000",  # by a commit; long before, farm.checkpoints does it beside the writers
            "foreign_keys=ON",
            f"busy_timeout={PATIENCE_S * 1000:.0f}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def check(database: Database, where: str) -> None:
    """Look through all pages of an SQLite file before a farm relies on it. Raises BadDatabase when it is damaged."""
    if not database.sqlite:
        return
    with explained(where), database.read() as tx:
        found = tx.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise BadDatabase(where, f"the database is damaged: {found}; restore a backup or move it away")


def migrate(database: Database, where: str) -> None:
    """Bring the schema up to date. Raises BadDatabase for a damaged, foreign or unfit database, and for a newer one
    that this farm can't work with."""
    with explained(where):
        if not database.sqlite:
            with database.read() as tx:
                lacks = postgres.unfit(tx)
            if lacks:
                raise BadDatabase(where, lacks)
        found = revision(database, where)
        if found != HEAD and not bearable(database, found):
            _upgrade(database, where)


def bearable(database: Database, found: str | None) -> bool:
    """Whether the schema is a newer farm's that says of itself that this one can work with it, too."""
    if found is None or found <= HEAD:
        return False
    with database.read() as tx:
        floor = tx.exec_driver_sql("SELECT value FROM meta WHERE key = 'floor'").scalar_one_or_none()
    return floor is not None and str(floor) <= HEAD


def revision(database: Database, where: str) -> str | None:
    """The schema's revision; None for an empty database. Raises BadDatabase for another program's."""
    with explained(where), database.read() as tx:
        tables = set(inspect(tx).get_table_names())
        if {"alembic_version", *_OURS} <= tables:
            return tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    if tables - {"alembic_version"}:
        raise BadDatabase(where, "this is another program's database; move it away or choose another home")
    return None


def _upgrade(database: Database, where: str) -> None:
    """Alembic is imported only where there is something to do: it costs a third of a second."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "farm:migrations")
    config.set_main_option("path_separator", "os")
    try:
        with database.write() as tx:  # whole or not at all, and by one process alone
            config.attributes["connection"] = tx
            command.upgrade(config, "head")
            tx.exec_driver_sql("DELETE FROM meta WHERE key = 'floor'")
            tx.exec_driver_sql(f"INSERT INTO meta (key, value) VALUES ('floor', '{FLOOR}')")
    except CommandError as error:
        raise BadDatabase(where, f"it was written by a newer farm: {error}; use the farm that made it") from error


@contextmanager
def explained(where: str) -> Iterator[None]:
    """What SQLAlchemy raises about a database as a whole, as BadDatabase."""
    try:
        yield
    except DatabaseError as error:
        raise BadDatabase(where, unusable(error)) from error


def unusable(error: DatabaseError) -> str:
    """Why nothing can be done with it now, and what to do, as `what; remedy`."""
    if not isinstance(error.orig, sqlite3.Error):
        return postgres.said(error) or f"the database refuses: {first_line(error)}; look at the server's log"
    if not isinstance(error, OperationalError):
        return f"the file is damaged or no database: {error.orig}; restore a backup or move it away"
    if "locked" in str(error.orig):
        return "another program holds the database locked; end that program (`fuser` names it) and try again"
    return f"the database can't be opened: {error.orig}; check the folder and the disk"


def first_line(error: DatabaseError) -> str:
    return next(iter(str(error.orig).splitlines()), "")[:200]
