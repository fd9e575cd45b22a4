"""What a farm stands on: a folder, a small disk, a disk that stalls, dies or loses its power, a clock that jumps.

All but the first need root: they mount. Each has faults of its own.
"""

import random
from collections.abc import Callable
from pathlib import Path
from threading import Event

from tests.chaos.disk import Disk, fill, may_mount, mount, unmount
from tests.chaos.ground import Ground

HOUR = 3600

Act = tuple[str, Callable[[Ground], None]]


class Terrain:
    """A plain folder."""

    name = "folder"
    delicate = True  # work that may not fail once can be done on it
    logs = True  # whole afterwards: they are not fsynced, so a disk that dies takes those of the last seconds along
    faults = 0  # of its own, in a run

    def prepare(self, folder: Path) -> dict[str, str]:
        """Make `folder`/home ready; what the farm gets into its environment."""
        (folder / "home").mkdir()
        return {}

    def fault(self, choose: random.Random) -> Act:
        raise NotImplementedError

    def clear(self, folder: Path) -> None:
        """Take everything away that `prepare` has made."""


def _wait(seconds: float) -> None:
    Event().wait(seconds)


class SmallDisk(Terrain):
    """A tmpfs that something else fills for some seconds, as home or for the executors alone."""

    faults = 2
    delicate = False

    def __init__(self, below: str) -> None:
        self.name = f"small disk as {below or 'home'}"
        self._below = below

    def _place(self, folder: Path) -> Path:
        return folder / "home" / self._below

    def prepare(self, folder: Path) -> dict[str, str]:
        self._place(folder).mkdir(parents=True)
        mount("-t", "tmpfs", "-o", "size=48m,mode=700", "farm-chaos", str(self._place(folder)))
        return {}

    def fault(self, choose: random.Random) -> Act:
        seconds = choose.uniform(0.3, 4)

        def act(ground: Ground) -> None:
            ballast = ground.home.path / self._below / "ballast"
            fill(ballast)
            _wait(seconds)
            ballast.unlink()

        return f"disk full {seconds:.1f} s", act

    def clear(self, folder: Path) -> None:
        unmount(self._place(folder))


class LoopDisk(Terrain):
    """An ext4 of its own, for the home."""

    faults = 1

    def prepare(self, folder: Path) -> dict[str, str]:
        self._disk = Disk(folder / "disk.ext4", folder / "home", 128 << 20)
        return {}

    def clear(self, folder: Path) -> None:
        if hasattr(self, "_disk"):
            self._disk.clear()

    def _mend(self, ground: Ground) -> None:
        """The machine was restarted, and its disk is well. The control groups that it named have gone with the rest."""
        ground.drop_cgroups()
        self._disk.again()
        ground.up()


class StallingDisk(LoopDisk):
    """Whoever writes waits, for up to a second at a time."""

    name = "disk that stalls"

    def fault(self, choose: random.Random) -> Act:
        pulses = [(choose.uniform(0.05, 1), choose.uniform(0.02, 0.2)) for _ in range(choose.randint(2, 8))]

        def act(_ground: Ground) -> None:
            for frozen, thawed in pulses:
                with self._disk.frozen():
                    _wait(frozen)
                _wait(thawed)

        return f"disk stalls {len(pulses)} times", act


class DyingDisk(LoopDisk):
    """Read-only from one moment to the next, and nothing more reaches it. Then comes the operator."""

    name = "disk that dies"
    logs = False

    def fault(self, choose: random.Random) -> Act:
        def act(ground: Ground) -> None:
            self._disk.die()
            _wait(1)
            if ground.base.in_home:
                ground.shell("submit", "--", "true", status=3)  # told in a sentence, as everything
                assert "Traceback" not in ground.shell.err, ground.shell.err
            ground.kill_all()
            self._mend(ground)

        return "disk dies, is mounted again", act


class NoPower(LoopDisk):
    """The power fails: all processes are gone at once, and of what was written only what is on the disk."""

    name = "power that fails"
    logs = False

    def fault(self, choose: random.Random) -> Act:
        def act(ground: Ground) -> None:
            ground.remember()  # the disk takes the names along
            self._disk.lose_power()
            ground.base.lose_power()
            ground.kill_all()
            ground.base.regain_power()
            self._mend(ground)

        return "power fails", act


class JumpingClock(Terrain):
    """The farm's wall clock jumps; monotonic clocks do not, as on a real machine."""

    faults = 2
    name = "clock that jumps"

    def prepare(self, folder: Path) -> dict[str, str]:
        (folder / "home").mkdir()
        self._file = folder / "offset"
        self._set(0)
        return {"FARM_CLOCK_OFFSET": str(self._file)}

    def fault(self, choose: random.Random) -> Act:
        jump = choose.choice([HOUR, -HOUR])
        return f"clock jumps {jump:+} s", lambda _ground: self._set(jump)

    def _set(self, jump: int) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{jump:+}")
        fresh.replace(self._file)


def choose_terrain(choose: random.Random) -> Terrain:
    """A plain folder every other time, and where there is no root."""
    rough: list[Callable[[], Terrain]] = [
        lambda: SmallDisk(""),
        lambda: SmallDisk("pools/local"),
        StallingDisk,
        DyingDisk,
        NoPower,
        JumpingClock,
    ]
    which, made = choose.random(), choose.choice(rough)()
    usable = isinstance(made, JumpingClock) or may_mount()
    return made if which < 0.5 and usable else Terrain()
