"""A farm's PostgreSQL in a trial: a server of its own, on a disk of its own and behind a line where that is tried."""

import contextlib
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from farm.db import Database
from farm.home import Home
from tests.chaos.base import Base
from tests.chaos.disk import Disk, may_mount, mount, unmount
from tests.chaos.line import Line
from tests.postgres import USER, Postgres

if TYPE_CHECKING:
    from tests.chaos.terrain import Act

OPTIONS = ("shared_buffers=16MB", "max_wal_size=16MB", "min_wal_size=2MB")
DISK = 160 << 20


class Server(Base):
    """What it stands on is chosen by the seed: memory, a small disk (tmpfs) or an ext4 of its own."""

    name = "postgresql"
    in_home = False
    database = "farm"

    def __init__(self, choose: random.Random) -> None:
        ground, self.lined = choose.choice(["memory", "small disk", "own disk"]), choose.random() < 0.5
        self.ground = ground if may_mount() else "memory"
        self.place: Path | None = None
        self.disk: Disk | None = None
        self.line: Line | None = None
        self.postgres: Postgres | None = None

    def start(self) -> None:
        if self.ground != "memory":
            self.place = Path(tempfile.mkdtemp(prefix="fcs-"))
            self.place.chmod(0o755)
            self._mount(self.place)
        self.postgres = Postgres(*OPTIONS, place=self.place and self.place / "disk")
        self.postgres.start()
        self.postgres.sql(f"CREATE DATABASE {self.database}")
        if self.lined:
            self.line = Line(self.postgres.folder / ".s.PGSQL.5432")

    def _mount(self, place: Path) -> None:
        if self.ground == "own disk":
            self.disk = Disk(place / "disk.ext4", place / "disk", DISK)
        else:
            (place / "disk").mkdir()
            mount("-t", "tmpfs", "-o", f"size={DISK}", "farm-chaos", str(place / "disk"))
        (place / "disk").chmod(0o755)

    def settings(self) -> str:
        assert self.postgres is not None
        url = self.postgres.url(self.database)
        if self.line is not None:
            url = f"postgresql://{USER}@127.0.0.1:{self.line.port}/{self.database}"
        return f'[database]\nurl = "{url}"\n'

    def there(self, _home: Home) -> bool:
        return self.postgres is not None

    def connect(self, _home: Home) -> Database:
        assert self.postgres is not None
        return Database.url(self.postgres.url(self.database))

    def faults(self, choose: random.Random) -> "list[Act]":
        from tests.chaos.server_faults import makers

        return [maker(self, choose) for maker in choose.sample(makers(self), self.FAULTS)]

    def revive(self) -> None:
        """Its operator, or systemd, starts it when it has ended."""
        assert self.postgres is not None
        if not self.postgres.running() or not self.postgres.answers():
            self.postgres.stop(signal.SIGKILL)
            self.postgres.start()

    def lose_power(self) -> None:
        assert self.postgres is not None
        if self.disk is not None:
            self.disk.lose_power()
        self.postgres.stop(signal.SIGKILL)

    def regain_power(self) -> None:
        assert self.postgres is not None
        if self.disk is not None:
            self.disk.again()
        self.postgres.start()

    def keep(self, _home: Home, folder: Path) -> None:
        if self.postgres is not None:
            with contextlib.suppress(OSError):
                shutil.copy(self.postgres.folder / "log", folder / "server.log")
            (folder / "farm.sql").write_text(self.postgres.dump(self.database))

    def clear(self) -> None:
        if self.line is not None:
            self.line.close()
        if self.postgres is not None:
            with contextlib.suppress(OSError):
                self.postgres.remove()
        if self.disk is not None:
            self.disk.clear()
        if self.place is not None:
            unmount(self.place / "disk")
            shutil.rmtree(self.place, ignore_errors=True)
