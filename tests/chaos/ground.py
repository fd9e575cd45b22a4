"""One farm in a fresh home, how to hurt it, and what it must not leave behind."""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from executors.local_books import Books
from executors.site.cage import Cage
from executors.site.ground import of_executor
from executors.site.process import Process
from farm.client import connect
from farm.home import Home
from farm.refusal import Refusal, Unavailable
from farm.store import open_store
from tests.chaos.base import Base
from tests.journeys.shell import Shell

PACE_S = 0.02
CGROUPS = "/sys/fs/cgroup"


class Stuck(AssertionError):
    """What should happen did not, in time."""


def until(true: Callable[[], Any], seconds: float, what: str, pace_s: float = PACE_S) -> Any:
    """What `true` gives as soon as that is something. Raises Stuck."""
    pause = Event()
    for _ in range(int(seconds / pace_s)):
        if found := true():
            return found
        pause.wait(pace_s)
    raise Stuck(f"after {seconds:g} s still not: {what}")


class Ground:
    """`home` is where the farm lives; `shell` types commands into it."""

    def __init__(
        self,
        home: Path,
        engine: str,
        slots: int,
        env: dict[str, str] | None = None,
        more: str = "",
        base: Base | None = None,
    ) -> None:
        """`more` goes into farm.toml below its pool."""
        self.home = Home(home)
        self.base = base or Base()
        self.engine = engine
        self.mounts = Path("/proc/mounts").read_text()  # those that the home itself stands on
        self.spared: set[int] = set()  # jobs whose tasks are not killed themselves
        self.groups: set[str] = set()  # what the control groups of its executors are called
        home.mkdir(exist_ok=True)
        site = "" if "[site]" in more else f'[site]\nengine = "{engine}"\n'
        pool = f'[pools.local]\nceiling = {slots}\nprice_per_hour = "1.2345"\n'
        (home / "farm.toml").write_text(site + pool + more + self.base.settings())
        self.shell = Shell(home, home.parent)
        self.shell.env.update(env or {})

    def up(self) -> None:
        self.shell("up")

    def up_twice(self, within_s: float = 120) -> None:
        """By two at the same moment; both are fine. Raises AssertionError, subprocess.TimeoutExpired."""
        both = [self.shell.start("up") for _ in range(2)]
        try:
            said = [process.communicate(timeout=within_s) for process in both]
        finally:
            for process in both:
                process.kill()
                process.wait()
        assert [process.returncode for process in both] == [0, 0], said

    def down(self) -> None:
        self.shell("down", "--terminate")

    def get(self, path: str) -> Any:
        """None when nobody answers."""
        try:
            with connect(self.home) as client:
                return client.get(path)
        except (Unavailable, Refusal):
            return None

    def named(self) -> list[dict[str, Any]]:
        """The processes that `farm status --json` names."""
        return (self.get("/v1/status") or {}).get("processes", [])

    def of(self, role: str) -> list[Process]:
        named = [one for one in self.named() if one["role"] == role and not self._spared(one["attempt"])]
        return [p for one in named for p in living(one["pid"])]

    def _spared(self, attempt: str) -> bool:
        return bool(attempt) and int(attempt.split(".")[0]) in self.spared

    def all(self) -> list[Process]:
        """Everything that belongs to this farm, named or not: it speaks of the home or of the run folder."""
        signs = (os.fsencode(self.home.path), os.fsencode(self.home.run))
        me = os.getpid()
        pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) != me]
        return [p for pid in pids if _belongs(pid, signs) for p in living(pid)]

    def ready(self) -> list[str]:
        return [e["id"] for e in (self.get("/v1/executors") or {"executors": []})["executors"] if e["state"] == "ready"]

    def kill_all(self) -> None:
        """As when the power goes, as far as processes are concerned: also those that are born meanwhile."""
        self.remember()  # a disk that dies takes the names along
        until(lambda: not [p.signal(signal.SIGKILL) for p in self.all()], 20, "everything is killed")

    def clear(self) -> None:
        """Nothing of this run stays on the machine but its folder; what should not have been there was told before."""
        try:
            self.kill_all()
        finally:
            self.drop_cgroups()
            shutil.rmtree(self.home.run, ignore_errors=True)

    def drop_cgroups(self) -> None:
        """As a restart of the machine does."""
        for folder in self.cgroups():
            Cage(tree=folder).remove()

    def remember(self) -> None:
        """The groups of all executors that the farm or its pools know of, or knew."""
        folders = [*self.home.pools.glob("*/executors/*")]
        folders += [p.parents[1] / "executors" / p.stem for p in self.home.pools.glob("*/ended/*.json")]
        folders += [self.home.pools / pool / "executors" / name for pool, name in self._known()]
        self.groups |= {of_executor(Cage(tree="/"), str(folder)).name for folder in folders}

    def _known(self) -> list[tuple[str, str]]:
        """Pool and name of each executor in the database, if that can be read."""
        if not self.base.there(self.home):
            return []
        db = self.base.connect(self.home)
        try:
            with db.read() as tx:
                return [(row[0], row[1]) for row in tx.exec_driver_sql("SELECT pool, id FROM executor")]
        except SQLAlchemyError:
            return []
        finally:
            db.close()

    def cgroups(self) -> list[str]:
        """Folders of the control groups that executors of this run have now."""
        self.remember()
        return [f"{folder}/{name}" for folder, below, _ in os.walk(CGROUPS) for name in below if name in self.groups]

    # ── afterwards ──

    def leftovers(self) -> list[str]:
        """Processes, mounts, sockets, cgroups and temporary files that a farm which went down has left."""
        return [*self._processes(), *self._system(), *self._files()]

    def _processes(self) -> Iterator[str]:
        with contextlib.suppress(Stuck):
            until(lambda: not self.all(), 5, "no process is left")
        for process in self.all():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ")
                yield f"process {process.pid}: {words.decode(errors='replace')[:150]}"

    def _system(self) -> Iterator[str]:
        signs = (str(self.home.path) + "/", str(self.home.run))
        for file in ("/proc/mounts", "/proc/net/unix"):
            for line in Path(file).read_text(errors="replace").splitlines():
                if any(sign in line for sign in signs) and line not in self.mounts:
                    yield f"{file}: {line}"
        yield from (f"cgroup {folder}" for folder in self.cgroups())

    def _files(self) -> Iterator[str]:
        if self.home.run.exists():
            yield f"folder {self.home.run}: {sorted(p.name for p in self.home.run.iterdir())}"
        self._orderless()
        yield from (f"executor {p}" for p in self.home.pools.glob("*/executors/*"))
        yield from (f"file {p}" for p in self._never_swept())
        for pattern in ("*.new", ".*", "*/.*", "pools/*/*.new"):
            yield from (f"file {p}" for p in self.home.path.glob(pattern) if p.is_file())

    def _orderless(self) -> None:
        """A dead disk takes what was in orders: who has none is left alone for some seconds; let those have passed."""
        for folder in self.home.pools.glob("*/executors/*"):
            try:
                json.loads((folder / "order.json").read_bytes())
            except (OSError, ValueError):
                os.utime(folder, (0, 0))
                Books(folder.parents[1], folder.parents[1].name).find(folder.name, lambda _: False)

    def _never_swept(self) -> list[Path]:
        """What killed writers leave in the store is removed a minute later by the next start; let that have passed."""
        folder = self.home.store / "incoming"
        for path in folder.iterdir():
            os.utime(path, (0, 0))
        open_store(self.home.store).sweep()
        return list(folder.iterdir())


def below(process: Process) -> list[Process]:
    """Its descendants."""
    children = [p for pid in children_of(process.pid) for p in living(pid)]
    return children + [p for child in children for p in below(child)]


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def living(pid: int) -> list[Process]:
    """The process, in a list, or an empty one."""
    try:
        process = Process.of(pid)
    except ProcessLookupError:
        return []
    return [process] if process.alive() else []


def _belongs(pid: int, signs: tuple[bytes, ...]) -> bool:
    try:
        place = Path(f"/proc/{pid}")
        text = (
            (place / "cmdline").read_bytes()
            + (place / "environ").read_bytes()
            + os.fsencode(os.readlink(place / "cwd"))
        )
    except OSError:
        return False
    return any(sign in text for sign in signs)
