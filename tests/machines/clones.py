"""Clones for tests: QEMU installed, templates made once and kept, a yard whose executors are clones."""

import subprocess
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

from executors.contract import Provider, Site, Surroundings
from executors.vmclone import provider as vmclone
from executors.vmclone.provider import VmcloneProvider
from executors.vmclone.template import Template, build
from tests.contract.yard import Yard, commands_with

MIB = 512
ROOT = Path(__file__).parents[2]


@cache
def programs() -> None:
    """QEMU and what makes its disks, installed when they are missing. Raises CalledProcessError."""
    subprocess.run(["sh", str(ROOT / "tools" / "programs.sh"), "clones"], check=True)


@cache
def template(slots: int, *packages: str) -> Template:
    """Made at the first call on a machine, which takes minutes; found then."""
    programs()
    with tempfile.TemporaryDirectory() as home:
        made = clones(Surroundings("f1", "p", home, home, home, "plain", timedelta(seconds=60)), packages=packages)
        return build(made.spec(slots), print)


def clones(around: Surroundings, ceiling: int = 64, packages: tuple[str, ...] = ()) -> VmcloneProvider:
    return vmclone.provider({"ceiling": ceiling, "mib": MIB, "packages": packages}, around)


class CloneYard(Yard):
    """Its executors are clones of templates with one and two slots; emulated, so all in them takes its time."""

    patience_s = 300.0

    def __init__(self, engine: str, make: Callable[[str], Site], lease_s: float = 300) -> None:
        for slots in (1, 2):
            template(slots)
        super().__init__(engine, make, lease_s, self._source)

    def _source(self, around: Surroundings) -> Provider:
        return clones(around)

    def commands_with(self, mark: str) -> list[str]:
        told = (p.get("command", "") for p in self.site.processes())
        return [*commands_with(mark), *(command for command in told if mark in command)]

    def touch(self, on: str, path: Path) -> None:
        self._orders += 1
        script = f"mkdir -p {path.parent} && touch {path}"
        assert self.result(on, self.work(f"990.{self._orders}.1", "sh", "-c", script)).exit == 0
