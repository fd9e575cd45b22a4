"""What holds a farm's rows in a trial: SQLite in its home, or a PostgreSQL of its own. Each has faults of its own."""

import contextlib
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from farm.db import Database
from farm.home import Home

if TYPE_CHECKING:
    from tests.chaos.terrain import Act


class Base:
    """SQLite in the farm's home."""

    name = "sqlite"
    in_home = True  # what happens to the disk of the home happens to it
    FAULTS = 2  # of its own, in a run

    def settings(self) -> str:
        """Lines of farm.toml."""
        return ""

    def start(self) -> None:
        """Before the farm."""

    def there(self, home: Home) -> bool:
        return home.database.exists()

    def connect(self, home: Home) -> Database:
        """For the trial's own questions. To be closed."""
        return Database.file(home.database)

    def faults(self, choose: random.Random) -> "list[Act]":
        from tests.chaos.file_faults import MAKERS

        return [maker(choose) for maker in choose.sample(MAKERS, self.FAULTS)]

    def lose_power(self) -> None:
        """It goes together with that of the farm's machine: nothing that was not on the disk is there afterwards."""

    def regain_power(self) -> None:
        """Before the farm starts again."""

    def keep(self, home: Home, folder: Path) -> None:
        """What somebody wants to see who asks what went wrong."""
        for name in ("farm.db", "farm.db-wal"):
            with contextlib.suppress(OSError):
                shutil.copy(home.path / name, folder)

    def clear(self) -> None:
        """Nothing of it stays on the machine."""
