"""A PostgreSQL of the tests' own: a new cluster in a temporary folder, reached by a Unix socket alone."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg

from farm.db import Database, migrate

FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off", "shared_buffers=32MB")
USER = "farm"
ROOM = 500 << 20


class Postgres:
    """One server. `options` are settings such as fsync=off; without them it is as durable as anybody's. `place` is
    where its folder is made."""

    def __init__(self, *options: str, place: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fpg", dir=place or _memory()))
        self._options = ("listen_addresses=", f"unix_socket_directories={self.folder}", *options)
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        give(self.folder)
        words = ["--username", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        words.append("--wal-segsize=1")
        done = _run([_program("initdb"), "--pgdata", str(self.folder / "data"), *words], self.folder)
        assert done.returncode == 0, done.stderr

    # ── the server ──

    def start(self, *more: str) -> None:
        """Until it answers. `more` settings hold for this run of it."""
        settings = [word for option in (*self._options, *more) for word in ("-c", option)]
        server = [_program("postgres"), "-D", str(self.folder / "data"), *settings]
        log = open(self.folder / "log", "ab")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "QUIT", *as_owner(), *server],  # it ends with us, however we end
            stdout=log,
            stderr=log,
            cwd=self.folder,
        )
        log.close()
        assert self.answers(), (self.folder / "log").read_text()

    def answers(self) -> bool:
        """As soon as it does, however it was started; False when it has ended, or takes longer than half a minute."""
        assert self._process is not None
        pause = threading.Event()
        for _ in range(600):
            try:
                psycopg.connect(self.dsn("postgres")).close()
                return True
            except psycopg.OperationalError as error:
                if "already" in str(error):  # it answers: there is no connection left
                    return True
            if self._process.poll() is not None:
                return False
            pause.wait(0.05)
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT cuts its connections and ends in order, SIGQUIT does not, SIGKILL is a power cut for it."""
        if self._process is None:
            return
        children = self.children() if how == signal.SIGKILL else []
        self._process.send_signal(how)
        self._process.wait(60)
        self._process = None
        for pid in children:
            tell(pid, signal.SIGKILL)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """All processes of it but the first; none when it has ended."""
        assert self._process is not None
        try:
            text = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in text.split()]

    def pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *self.children()]

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def follow(self, primary: "Postgres") -> None:
        """Become the standby of a running server, as a copy of it; to be started then."""
        shutil.rmtree(self.folder / "data")
        words = ["--pgdata", str(self.folder / "data"), "--host", str(primary.folder), "--username", USER]
        words += ["--wal-method=stream", "--checkpoint=fast", "--write-recovery-conf"]
        done = _run([_program("pg_basebackup"), *words], self.folder)
        assert done.returncode == 0, done.stderr

    # ── its databases ──

    def dsn(self, database: str) -> str:
        return f"host={self.folder} user={USER} dbname={database}"

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """What a statement of the tests' own says."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def bare(self) -> str:
        """The name of a new, empty database."""
        name = f"t{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def fresh(self) -> str:
        """The name of a new database with the newest schema."""
        name = f"t{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {self.template()}")
        return name

    def dump(self, name: str) -> str:
        """All of a database, as statements."""
        return _run([_program("pg_dump"), "--dbname", self.dsn(name)], self.folder).stdout

    def template(self) -> str:
        """Migrated once; what others are copied from."""
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = 'template_farm'"):
            self.sql("CREATE DATABASE template_farm")
            with closing(Database.url(self.url("template_farm"))) as db:
                migrate(db, "template")
        return "template_farm"

    def emptied(self, name: str) -> str:
        """A database as it was made: its rows removed and its numbers begun anew, at a tenth of a new one's cost."""
        self.sql(_EMPTY, name)
        return name


_EMPTY = """DO $$ DECLARE found record; BEGIN
  SET LOCAL session_replication_role = replica;
  FOR found IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
      AND relname <> 'alembic_version' LOOP EXECUTE format('DELETE FROM %I', found.relname); END LOOP;
  FOR found IN SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
      LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', found.relname); END LOOP;
END $$"""


def _memory() -> str | None:
    """A folder that no disk is behind, where there is one with room."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if found.f_bavail * found.f_frsize > ROOM and os.access("/dev/shm", os.W_OK) else None


def _program(name: str) -> str:
    """The newest there is."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(re.findall(r"\d+", str(p))[0]))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, "there is no PostgreSQL here: sh tools/programs.sh database"
    return path


def _owner() -> str:
    """It refuses to run as root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def as_owner() -> list[str]:
    if os.getuid() != 0:
        return []
    entry = pwd.getpwnam(_owner())
    return ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]


def give(folder: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(folder, _owner())


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["setpriv", *as_owner(), *words], cwd=folder, capture_output=True, text=True)


def tell(pid: int, what: signal.Signals) -> None:
    """A process that may have gone."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass
