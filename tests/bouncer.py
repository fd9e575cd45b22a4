"""A PgBouncer of the tests' own before their PostgreSQL, reached by a Unix socket alone."""

import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import psycopg

from tests.postgres import USER, Postgres, as_owner, give

PORT = 6432
SETTINGS = """
[databases]
* = host={server} user={user}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = 40
"""


class Bouncer:
    """`mode`: session or transaction."""

    def __init__(self, server: Postgres, mode: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fpb", dir="/tmp"))
        settings = self.folder / "pgbouncer.ini"
        about = {"server": server.folder, "user": USER, "port": PORT, "folder": self.folder, "mode": mode}
        settings.write_text(SETTINGS.format(**about))
        give(self.folder)
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program, "there is no PgBouncer here: sh tools/programs.sh database"
        log = open(self.folder / "log", "ab")
        words = ["setpriv", "--pdeathsig", "KILL", *as_owner(), program, str(settings)]
        self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder)
        log.close()

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={PORT}"

    def answers(self, database: str) -> "Bouncer":
        """As soon as it does."""
        pause = threading.Event()
        for _ in range(600):
            try:
                psycopg.connect(f"host={self.folder} port={PORT} user={USER} dbname={database}").close()
                return self
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                pause.wait(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def remove(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)
