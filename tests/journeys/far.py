"""A farm and a person on another machine: no home there, only an address and a token."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from farm.home import Home
from tests.journeys.proxy import Proxy, socket_of
from tests.journeys.shell import Shell

SETTINGS = '[site]\nengine = "plain"\n[pools.local]\nfloor = 1\nceiling = 2\nprice_per_hour = 0.05\n'
_OURS = ("FARM_HOME", "FARM_URL", "FARM_TOKEN", "FARM_CA", "XDG_STATE_HOME", "XDG_CONFIG_HOME")


class Far(Shell):
    """Types commands with FARM_URL and FARM_TOKEN; HOME is an empty folder."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.home, self.cwd = folder / "nobody", folder / "work"
        self.home.mkdir(parents=True)
        self.cwd.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        self.env = {**kept, "HOME": str(self.home), "PYTHONPATH": str(Path(__file__).parents[2]), **env}

    def says(self, *words: str, status: int, env: dict[str, str] | None = None, given: str | None = None) -> str:
        """What it says when that goes wrong: one sentence."""
        process = self.start(*words, env=env, stdin=-1)
        _, err = process.communicate(given, timeout=120)
        assert process.returncode == status, f"{words} ended with {process.returncode}: {err}"
        assert err.count("\n") == 1, err
        return err


class Near:
    """A farm with its own shell, a wire to it, and somebody at the far end."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        (folder / "home").mkdir()
        (folder / "home" / "farm.toml").write_text(settings)
        self.folder, self.shell = folder, Shell(folder / "home", folder)
        self.shell("up")
        self.home = Home(folder / "home")
        self.proxy = Proxy(socket_of(self.home.socket))
        self.far = Far(folder / "far", FARM_URL=self.proxy.url, FARM_TOKEN=self.home.token())

    def service(self) -> int:
        return next(one["pid"] for one in self.shell.json("status")["processes"] if one["role"] == "service")

    def close(self) -> None:
        self.proxy.close()
        self.shell("down", "--terminate")


@contextlib.contextmanager
def near(settings: str = SETTINGS) -> Iterator[Near]:
    with tempfile.TemporaryDirectory(prefix="fr-") as folder:
        made = Near(Path(folder), settings)
        try:
            yield made
        finally:
            made.close()
