"""`farm demo --on KIND` as a person types it: it checks what it claims, and what it leaves is looked at here."""

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.contract.yard import eventually

MARK = "FARM_DEMONSTRATION"
PATIENCE_S = 1500  # emulated, and the first time much is made


class Demonstration:
    """One run, from its start."""

    def __init__(self, kind: str, out: Path) -> None:
        self.out = out
        self._mark = f"{MARK}={secrets.token_hex(8)}"
        name, _, value = self._mark.partition("=")
        self._told = (out.parent / "story").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "farm", "demo", "--on", kind, "--out", str(out), "--json"],
            env={**os.environ, name: value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
            start_new_session=True,
        )

    @property
    def story(self) -> str:
        self._told.seek(0)
        return self._told.read()

    def until(self, text: str) -> None:
        """It has come so far."""
        eventually(lambda: text in self.story or self._process.poll() is not None, PATIENCE_S)
        assert self._process.poll() is None, self.story

    def interrupt(self) -> None:
        """Ctrl-C: for all that the terminal knows."""
        os.killpg(self._process.pid, signal.SIGINT)

    def ended(self) -> tuple[int, str]:
        """Exit status and output; nothing of it is left."""
        try:
            said, _ = self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.interrupt()
            self._process.communicate()
            raise AssertionError(f"it took more than {PATIENCE_S} s:\n{self.story}") from None
        eventually(lambda: not self.left(), 20)
        return self._process.returncode, said

    def left(self) -> list[str]:
        """Processes that it has started, and theirs."""
        return [f"{folder.name} {_read(folder / 'cmdline')}" for folder in _processes() if self._of_it(folder)]

    def _of_it(self, folder: Path) -> bool:
        return self._mark in _read(folder / "environ").split("\0") and "State:\tZ" not in _read(folder / "status")


def shown(kind: str, folder: Path) -> dict[str, Any]:
    """What it says at its end, as all claims held; `folder` is its own."""
    run = Demonstration(kind, folder / "out")
    status, said = run.ended()
    assert status == 0, run.story
    told: dict[str, Any] = json.loads(said)
    assert told["files"] == ["film.mp4", "contact.png", "cost.json", "usage.json"]
    assert all((run.out / name).stat().st_size > 300 for name in told["files"])
    (row,) = json.loads((run.out / "cost.json").read_text())["rows"][:1]
    assert float(row["cost"]) > 0
    return told


def _processes() -> list[Path]:
    return [folder for folder in Path("/proc").glob("[0-9]*") if int(folder.name) != os.getpid()]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
