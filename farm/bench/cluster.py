"""A PostgreSQL of the benchmark's own: a new cluster in a temporary folder, reached by a Unix socket alone, durable."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from farm.refusal import Unavailable

USER = "farm"
SETTINGS = ("listen_addresses=", "shared_buffers=128MB", "max_wal_size=1GB", "autovacuum_naptime=5s")
START_S = 180.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server; `pid` is that of its first process, whose children do the work."""

    folder: Path
    pid: int

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        import psycopg

        with psycopg.connect(f"host={self.folder} user={USER} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{USER}@/{name}?host={self.folder}"


def program(name: str) -> str | None:
    """The newest that Debian's packages brought, else the one on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(re.findall(r"\d+", str(p))[0]))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Up for as long as this lasts. Raises Unavailable where there is no PostgreSQL, or it does not start."""
    initdb, postgres = program("initdb"), program("postgres")
    if not initdb or not postgres:
        raise Unavailable("there is no PostgreSQL on this machine", remedy="install its server, or measure SQLite only")
    folder = Path(tempfile.mkdtemp(prefix="fpg"))
    try:
        _give(folder)
        words = ["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(
            [*_as(), initdb, "--pgdata", str(folder / "data"), *words], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            raise Unavailable(f"PostgreSQL makes no cluster: {done.stderr.strip()[-300:]}", str(folder))
        yield from _served(folder, postgres)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _served(folder: Path, postgres: str) -> Iterator[Cluster]:
    settings = [word for one in (*SETTINGS, f"unix_socket_directories={folder}") for word in ("-c", one)]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [*_as(), postgres, "-D", str(folder / "data"), *settings], stdout=log, stderr=log, cwd=folder
        )
    try:
        _answers(folder, server)
        yield Cluster(folder, server.pid)
    finally:
        server.send_signal(2)  # cuts its connections and ends in order
        server.wait()


def _answers(folder: Path, server: "subprocess.Popen[bytes]") -> None:
    import psycopg

    pause = threading.Event()
    for _ in range(int(START_S / 0.1)):
        try:
            psycopg.connect(f"host={folder} user={USER} dbname=postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            pause.wait(0.1)
    raise Unavailable(f"PostgreSQL does not start: {(folder / 'log').read_text()[-300:]}", str(folder))


def _as() -> list[str]:
    """It refuses to run as root; and it ends with us, however we end."""
    if os.getuid() != 0:
        return ["setpriv", "--pdeathsig", "INT"]
    entry = pwd.getpwnam(_owner())
    return [
        "setpriv",
        "--pdeathsig",
        "INT",
        "--reuid",
        str(entry.pw_uid),
        "--regid",
        str(entry.pw_gid),
        "--clear-groups",
    ]


def _owner() -> str:
    return "postgres" if "postgres" in {entry.pw_name for entry in pwd.getpwall()} else "nobody"


def _give(folder: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(folder, _owner())
