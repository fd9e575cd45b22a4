"""What the local provider knows of its machines, on disk: one folder per living one, one small file per ended one."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from executors.contract import Machine, MachineState
from executors.site.ground import forget
from executors.site.process import Process

REMEMBERED_NS = 600 * 10**9  # how long an ended machine is listed
SIGNS_NS = 10 * 10**9  # an executor signs its folder within a tenth of a second

Alive = Callable[[str], bool | None]
"""Whether the process of a machine lives; None: not known yet."""


class Books:
    """executors/ID/{order.json, machine.json, ended, …} and ended/ID.json below `home`."""

    def __init__(self, home: Path, pool: str) -> None:
        self._pool = pool
        self._living, self._ended = home / "executors", home / "ended"
        for folder in (self._living, self._ended):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open(self, name: str, token: str, slots: int) -> Path:
        """The folder of a machine, made before anything is started; one that is there stays as it is."""
        folder = self._living / name
        folder.mkdir(exist_ok=True, mode=0o700)
        try:
            if _read(folder / "order.json") is None:
                _write(folder / "order.json", {"token": token, "slots": slots, "launched_at": time.time_ns()})
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    def close(self, name: str, at: int, error: str = "") -> None:
        """The machine has ended: keep that, drop its folder."""
        order = _read(self._living / name / "order.json") or {"token": "", "slots": 0, "launched_at": at}
        try:
            _write(self._ended / f"{name}.json", order | {"ended_at": at, "error": error})
        finally:  # a full disk: who is not listed any more is told as lost, too
            forget(self._living / name)
            shutil.rmtree(self._living / name, ignore_errors=True)

    def ask(self, name: str) -> None:
        """The machine is about to be ended by us: nothing will be wrong with it."""
        with contextlib.suppress(FileNotFoundError):
            (self._living / name / "asked").touch()

    def process(self, name: str) -> Process | None:
        signed = _read(self._living / name / "machine.json")
        return Process(signed["pid"], signed["started"]) if signed else None

    def find(self, name: str, alive: Alive) -> Machine | None:
        return self._settled(name, alive) or self._past(name)

    def machines(self, alive: Alive) -> list[Machine]:
        """All of them; those found dead are moved to the ended ones, those long ended forgotten."""
        names = {path.name for path in self._living.iterdir()}
        names |= {path.stem for path in self._ended.glob("*.json") if not self._forget(path)}
        return [machine for name in sorted(names) if (machine := self.find(name, alive))]

    def _settled(self, name: str, alive: Alive) -> Machine | None:
        folder = self._living / name
        order = _read(folder / "order.json")
        lives = alive(name)
        if order is None:
            if not lives and _untouched(folder):  # a disk that died took the order with it
                self.close(name, *_end_of(folder))
            return None
        if lives is None:
            lives = order["launched_at"] + SIGNS_NS > time.time_ns()
        if not lives:
            self.close(name, *_end_of(folder))
            return None
        signed = (folder / "machine.json").exists()
        return self._machine(name, order, MachineState.RUNNING if signed else MachineState.BOOTING)

    def _past(self, name: str) -> Machine | None:
        order = _read(self._ended / f"{name}.json")
        return self._machine(name, order, MachineState.ENDED) if order else None

    def _machine(self, name: str, order: dict[str, Any], state: MachineState) -> Machine:
        return Machine(
            id=name,
            order=order["token"],
            pool=self._pool,
            state=state,
            slots=order["slots"],
            launched_at=_when(order["launched_at"]),
            ended_at=_when(order["ended_at"]) if "ended_at" in order else None,
            error=order.get("error", ""),
        )

    def _forget(self, path: Path) -> bool:
        order = _read(path)
        if order is not None and order["ended_at"] + REMEMBERED_NS > time.time_ns():
            return False
        path.unlink(missing_ok=True)
        return True


def _untouched(folder: Path) -> bool:
    """Whether the folder is there and nobody has just made it."""
    try:
        return abs(time.time_ns() - folder.stat().st_mtime_ns) > SIGNS_NS
    except OSError:
        return False


def _end_of(folder: Path) -> tuple[int, str]:
    """When an executor ended and what was wrong: as it wrote itself, else nobody knows better than now."""
    said = _text(folder / "error")
    try:
        return int((folder / "ended").read_text()), said
    except (OSError, ValueError):
        return time.time_ns(), said or ("" if (folder / "asked").exists() else "its process was killed")


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _when(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value))
    fresh.replace(path)
