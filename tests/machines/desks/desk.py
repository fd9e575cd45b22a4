"""A person beside a farm whose executors are machines of one kind: what tests, demos and trials have in common.

with desk("ec2", folder) as farm:            # tests/machines/desks/kinds.py; its ground and machines come with it
    farm("submit", "--wait", "--", "true")   # any command; its stdout
    farm.submit("--", "sleep", "9")          # the job's number
    farm.json("show", "1")
    farm.executors()                         # all there ever were
    farm.machines()                          # those that work now: {executor: machine}, to be hurt
    farm.until_nothing_is_left()             # 0 executors, and nothing of the kind's own either
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from tests.contract.yard import eventually
from tests.journeys.shell import Shell

PATIENCE_S = 120
PRICE = 0.36  # per hour: a hundredth of a cent a second
ENDED = ("gone", "lost")


class Running(Protocol):
    """A machine that an executor is on. What else can be done to it depends on its kind: see the protocols below."""

    def kill(self) -> None:
        """Its power fails."""


@runtime_checkable
class Freezes(Protocol):
    def freeze(self, frozen: bool = True) -> None:
        """As a virtual machine that is paused; `freeze(False)` thaws it."""


@runtime_checkable
class Cuts(Protocol):
    """It has a connection of its own to the farm."""

    def cut(self) -> None:
        """Packets vanish in both directions; nobody is told."""

    def restore(self) -> None: ...


@runtime_checkable
class Slows(Protocol):
    def slow(self, *, kbit: int = 0, delay_ms: float = 0, loss: float = 0) -> None:
        """Its connection, from now on; `slow()` is a good one again."""


class Desk(Shell):
    """`folder` is short, its own, and stays; the farm's home is made in it. `with desk:` is from up to down."""

    kind: ClassVar[str]
    pool: ClassVar[str]
    patience_s: ClassVar[float] = PATIENCE_S  # for something to begin or to go; multiply where work is awaited

    def __init__(self, folder: Path, settings: str) -> None:
        home = folder / "home"
        home.mkdir()
        super().__init__(home, folder)
        (home / "farm.toml").write_text(settings)

    def __enter__(self) -> Self:
        try:
            self("up")
        except BaseException:
            self("down", "--terminate")
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self("down", "--terminate")

    def start(self, *words: str, env: Mapping[str, str] | None = None, **options: Any) -> "subprocess.Popen[Any]":
        if words[0] != "up":
            return super().start(*words, env=env, **options)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        line = [sys.executable, "-m", "farm", *words]
        return self.launch(line, cwd=self.cwd, env={**self.env, **(env or {})}, start_new_session=True, **pipes)

    def launch(self, line: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a program where the farm has to be run for its machines to reach it."""
        return subprocess.Popen(line, **options)

    def submit(self, *words: str) -> int:
        return int(json.loads(self("submit", "--json", *words))["id"])

    def executors(self) -> list[dict[str, Any]]:
        """All there ever were."""
        found: list[dict[str, Any]] = self.json("executors", "--all")["executors"]
        return found

    def machines(self) -> dict[str, Running]:
        """Those that work now, by executor."""
        raise NotImplementedError

    def left(self) -> list[str]:
        """What there still is of executors that have gone, as the kind itself tells."""
        raise NotImplementedError

    def lived_s(self) -> float | None:
        """All machines, from their order to their end, as who sells them says; None where nobody does."""
        return None

    def until_nothing_is_left(self) -> None:
        eventually(lambda: all(e["state"] in ENDED for e in self.executors()), self.patience_s)
        eventually(lambda: not self.left(), self.patience_s)

    def processes(self, *roles: str) -> dict[str, list[int]]:
        """Living executor → its processes of these roles on this machine."""
        found: dict[str, list[int]] = {}
        living = {one["id"] for one in self.executors() if one["state"] not in ENDED}
        for one in self.json("status")["processes"]:
            if one["executor"] in living and one["role"] in roles:
                found.setdefault(one["executor"], []).append(one["pid"])
        return found


class Processes:
    """An executor that is nothing but processes of this machine."""

    def __init__(self, pids: Collection[int]) -> None:
        self.pids = list(pids)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def freeze(self, frozen: bool = True) -> None:
        self._signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for pid in self.pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
