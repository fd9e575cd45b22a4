"""A farm of one kind, for one run: its desk, what must not be left of it, and who can be hurt."""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from farm.home import Home
from tests.chaos.base import Base
from tests.chaos.ground import Ground, Stuck, until
from tests.machines.desks.desk import Desk, Running

Undo = Callable[[], None]


class Standing(Ground):
    """The ground of a farm whose home and settings a desk has made."""

    def __init__(self, desk: Desk) -> None:
        self.home, self.shell, self.engine, self.base = Home(desk.home), desk, "", Base()
        self.mounts = Path("/proc/mounts").read_text()
        self.spared, self.groups = set(), set()


@dataclass
class Scene:
    """`stuff` is where the small disk lies: a folder of this machine, or one of each machine. `clock` holds the seconds
    by which the service's clock is off."""

    desk: Desk
    folder: Path
    lease_s: float
    leftovers: Callable[[], list[str]] = list
    hurt: list[Undo] = field(default_factory=list)  # what to make good before the end
    no_room: bool = False  # a disk was full: logs may say that something is missing

    def __post_init__(self) -> None:
        self.ground = Standing(self.desk)
        self.clock = self.folder / "offset"
        self.set_clock(0)
        self.desk.env["FARM_CLOCK_OFFSET"] = str(self.clock)

    def set_clock(self, seconds: float) -> None:
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+}")
        fresh.replace(self.clock)

    def machines(self) -> list[Running]:
        """Those that work now; none while nobody can say."""
        with contextlib.suppress(AssertionError, OSError, json.JSONDecodeError, KeyError):
            return [machine for _, machine in sorted(self.desk.machines().items())]
        return []

    def one(self, which: float) -> Running | None:
        """None when nothing works: the work may be done."""
        try:
            found: list[Running] = until(self.machines, 8, "a machine works")
        except Stuck:
            return None
        return found[int(which * len(found))]

    def heal(self) -> None:
        """Whatever is still cut, slow or frozen is well again."""
        while self.hurt:
            with contextlib.suppress(OSError, ProcessLookupError):
                self.hurt.pop()()


def settle(desk: Desk, engine: str, **values: str) -> None:
    """Change lines of its farm.toml, and say which engine it has."""
    file = desk.home / "farm.toml"
    text = file.read_text().replace("[site]\n", f'[site]\nengine = "{engine}"\n')
    for name, value in values.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    file.write_text(text)


def words(pid: int) -> str:
    """Its command line; "" when it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
