"""Keepers for tests: one to talk to, and every way in which this machine can hold one."""

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from executors.site.cage import NO_CAGE, Cage
from executors.site.ground import base, of_executor
from executors.site.line import Line
from executors.site.rung import FLOOR, LADDER, Rung, holds, rung
from executors.site.veil import covering

ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
NOBODY = 65534
AS_NOBODY = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
PYTHONS = (sys.executable, "/usr/bin/python3")
TRY = "import os, sys; sys.version_info >= (3, 11) or sys.exit(1); sys.path.append(sys.argv[1])\n"
TRY += "import executors.site.keeper; os.execv(sys.executable, [sys.executable, '-c', 'pass'])"


@dataclass(frozen=True)
class Hold:
    """A rung, with or without control groups, as us or as nobody."""

    rung: Rung
    caged: bool = False
    nobody: bool = False
    python: str = sys.executable

    def __str__(self) -> str:
        return self.rung.name + (" with groups" if self.caged else "") + (" as nobody" if self.nobody else "")


RUNGS = [r for r in (*LADDER, FLOOR) if holds(r)]


def _for_nobody() -> list[Hold]:
    """Root can try what others have; where they can't even read this code there is nothing to try."""
    if os.geteuid() != 0:
        return []
    rungs = [replace(r, prefix=(*AS_NOBODY, *r.prefix)) for r in (*LADDER[1:], FLOOR)]
    python = next(filter(_serves, PYTHONS), "")
    return [Hold(r, nobody=True, python=python) for r in rungs if holds(r)] if python else []


def _serves(python: str) -> bool:
    """Whether nobody can run this one, and read our code with it."""
    words = [*AS_NOBODY, python, "-ISE", "-c", TRY, str(Path(__file__).parents[2])]
    return subprocess.run(words, capture_output=True, cwd="/").returncode == 0


HOLDS = [*(Hold(r) for r in RUNGS), *_for_nobody()]
CAGED = [Hold(r, caged=True) for r in RUNGS] if base().memory and base().pids else []


class Talk:
    """A keeper and what it has said."""

    def __init__(self, hold: Hold | None = None, private: Mapping[str, str] = MappingProxyType({})) -> None:
        """`private`: files below its folder that tasks shall not see, and what is in them."""
        hold = hold or Hold(rung())
        self.python = hold.python
        self.folder = folder = Path(tempfile.mkdtemp(prefix="fk-", dir="/tmp"))
        (folder / "spool").mkdir()
        if hold.nobody:
            for path in (folder, folder / "spool"):
                os.chown(path, NOBODY, NOBODY)
        for name, text in private.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
            for path in (folder / name, (folder / name).parent) if hold.nobody else ():
                os.chown(path, NOBODY, NOBODY)
        veil = covering({str(folder / name.split("/")[0]) for name in private})
        self.cage: Cage = of_executor(base(), str(folder)) if hold.caged else NO_CAGE
        self.line = Line(folder, 0, ENV, hold.rung, self.cage, hold.python, veil)
        self.started: dict[str, list[Any]] = {}
        self.done: dict[str, list[Any]] = {}
        self.order: list[str] = []
        self.back: list[str] = []

    def run(self, *items: list[Any]) -> None:
        self.line.say({"run": list(items)})

    def listen(self) -> bool:
        """Whether it still lives."""
        poller = select.poll()
        poller.register(self.line.out, select.POLLIN)
        while self.line.waits and select.select([self.line.out], [self.line.into], [], 60)[1]:
            self.line.flush()
        assert poller.poll(60_000), "the keeper says nothing"
        words = self.line.hear()
        for word in words or ():
            if "started" in word:
                self.started[word["started"][0]] = word["started"]
            self.back += word.get("back", [])
            for end in word.get("done", ()):
                self.done[end[0]] = end
                self.order.append(end[0])
        return words is not None

    def until(self, *names: str) -> list[list[Any]]:
        while not set(names) <= set(self.done):
            assert self.listen(), "the keeper is gone: " + (self.folder / "keeper.log").read_text()
        return [self.done[name] for name in names]

    def until_started(self, name: str) -> None:
        while name not in self.started:
            assert self.listen(), "the keeper is gone"

    def output(self, end: list[Any]) -> bytes:
        return (self.folder / "spool" / end[8]).read_bytes()[end[9] : end[10]]

    def close(self) -> None:
        self.line.close()
        self.cage.remove()
        shutil.rmtree(self.folder)


def item(
    name: str, *argv: str, cwd: str = "", owner: str = "", env: dict[str, str] | None = None, **limits: float
) -> list[Any]:
    return [name, list(argv), env or {}, cwd, owner, limits, []]
