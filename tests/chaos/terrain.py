"""What a farm stands on: a folder, a small disk, a disk that stalls or dies, a clock that jumps.

All but the first need root: they mount. Each has faults of its own.
"""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Event

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


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, timeout=30)


def _unmount(place: Path) -> None:
    for _ in range(100):
        done = subprocess.run(["umount", str(place)], capture_output=True, timeout=60)
        if done.returncode == 0 or not os.path.ismount(place):
            return
        _wait(0.1)
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True, timeout=60)


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
        _mount("-t", "tmpfs", "-o", "size=48m,mode=700", "farm-chaos", str(self._place(folder)))
        return {}

    def fault(self, choose: random.Random) -> Act:
        seconds = choose.uniform(0.3, 4)

        def act(ground: Ground) -> None:
            ballast = ground.home.path / self._below / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            _wait(seconds)
            ballast.unlink()

        return f"disk full {seconds:.1f} s", act

    def clear(self, folder: Path) -> None:
        _unmount(self._place(folder))


class LoopDisk(Terrain):
    """An ext4 of its own: it stalls (frozen and thawed), or dies in the middle and is mounted again."""

    faults = 1
    name = "disk of its own"

    def __init__(self, dies: bool) -> None:
        self._dies = dies
        self.logs = not dies

    def prepare(self, folder: Path) -> dict[str, str]:
        image = folder / "disk.ext4"
        with image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True, timeout=60)
        (folder / "home").mkdir()
        _mount("-o", "loop", str(image), str(folder / "home"))
        return {}

    def fault(self, choose: random.Random) -> Act:
        return self._death() if self._dies else self._stalls(choose)

    def _stalls(self, choose: random.Random) -> Act:
        """Whoever writes waits, for up to a second at a time."""
        pulses = [(choose.uniform(0.05, 1), choose.uniform(0.02, 0.2)) for _ in range(choose.randint(2, 8))]

        def act(ground: Ground) -> None:
            for frozen, thawed in pulses:
                with _frozen(ground.home.path):
                    _wait(frozen)
                _wait(thawed)

        return f"disk stalls {len(pulses)} times", act

    def _death(self) -> Act:
        """It is read-only from one moment to the next, and nothing more reaches it. Then comes the operator."""

        def act(ground: Ground) -> None:
            place = ground.home.path
            _mount("-o", "remount,abort", str(place))
            with contextlib.suppress(OSError):
                (place / "probe").touch()
            _wait(1)
            ground.shell("submit", "--", "true", status=3)  # told in a sentence, as everything
            assert "Traceback" not in ground.shell.err, ground.shell.err
            ground.kill_all()
            ground.drop_cgroups()  # the disk may have taken along what names them: only a restart ends those
            _unmount(place)
            disk = place.parent / "disk.ext4"
            again = disk.with_suffix(".again")  # others' namespaces may still hold the dead one
            subprocess.run(["cp", "--sparse=always", str(disk), str(again)], check=True, timeout=60)
            _mount("-o", "loop", str(again), str(place))
            ground.up()

        return "disk dies, is mounted again", act

    def clear(self, folder: Path) -> None:
        subprocess.run(["fsfreeze", "-u", str(folder / "home")], capture_output=True, timeout=30)
        _unmount(folder / "home")


@contextlib.contextmanager
def _frozen(place: Path) -> Iterator[None]:
    subprocess.run(["fsfreeze", "-f", str(place)], check=True, capture_output=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(place)], check=True, capture_output=True, timeout=30)


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
        lambda: LoopDisk(dies=False),
        lambda: LoopDisk(dies=True),
        JumpingClock,
    ]
    which, made = choose.random(), choose.choice(rough)()
    usable = isinstance(made, JumpingClock) or _may_mount()
    return made if which < 0.5 and usable else Terrain()


@cache
def _may_mount() -> bool:
    """Found by trying: a container's root often may not."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or shutil.which("fsfreeze") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="fc-") as place:
        try:
            _mount("-t", "tmpfs", "farm-chaos", place)
            subprocess.run(["losetup", "--find"], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return False
        finally:
            if os.path.ismount(place):
                _unmount(Path(place))
    return True
