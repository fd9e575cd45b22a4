"""Control groups: they hold the memory and the number of processes of a task, and end all of it at once.

Version 1, version 2, and both mixed. Standard library only, quick to import: keepers use it.
"""

import contextlib
import os
import select
import signal
from typing import NamedTuple

GONE_S = 2.0  # a killed process leaves its group within moments
PAUSE_S = 0.002
DEEPEST = 64  # levels of groups in groups


class Cage(NamedTuple):
    """One group: its folder in each hierarchy, by what it is for there; "" where there is none. Under version 2 one
    folder serves for all. `tree` is of version 2: it has cgroup.kill."""

    memory: str = ""
    pids: str = ""
    tree: str = ""

    def __bool__(self) -> bool:
        return any(self)

    def folders(self) -> list[str]:
        return list(dict.fromkeys(folder for folder in self if folder))

    @property
    def name(self) -> str:
        return os.path.basename(next(iter(self.folders()), ""))

    def below(self, name: str) -> "Cage":
        """The group of this name inside; it need not exist."""
        return Cage(*(folder and f"{folder}/{name}" for folder in self))

    def only_kill(self) -> "Cage":
        """What is needed to end everything in it: one hierarchy, the one that does it best."""
        return Cage(tree=self.tree) if self.tree else Cage(pids=self.pids) if self.pids else Cage(memory=self.memory)

    def make(self) -> None:
        """Repeating it is fine. Raises OSError."""
        for folder in self.folders():
            os.makedirs(folder, exist_ok=True)

    def offer(self) -> None:
        """Let groups below this one have limits: version 2 wants to be told. Raises OSError."""
        self.make()
        if self.memory and os.path.exists(f"{self.memory}/cgroup.controllers"):
            write(f"{self.memory}/cgroup.subtree_control", "+memory +pids")

    def join(self) -> None:
        """Move the calling process here. Raises OSError."""
        for folder in self.folders():
            write(f"{folder}/cgroup.procs", "0")

    def joined(self) -> bool:
        """Whether the calling process is here now, in all hierarchies: one may take it, and another not."""
        try:
            self.join()
        except OSError:
            return False
        return True

    def limit(self, memory: int, processes: int) -> None:
        """Bytes and a number; 0 is none, and so is what no group here can hold. Raises OSError, also when more is in
        use already."""
        if processes and self.pids:
            write(f"{self.pids}/pids.max", str(processes))
        if memory and self.memory:
            self._limit_memory(memory)

    def _limit_memory(self, memory: int) -> None:
        if os.path.exists(f"{self.memory}/memory.max"):
            with contextlib.suppress(OSError):
                write(f"{self.memory}/memory.swap.max", "0")
            write(f"{self.memory}/memory.oom.group", "1")
            write(f"{self.memory}/memory.max", str(memory))
            return
        write(f"{self.memory}/memory.limit_in_bytes", str(memory))
        with contextlib.suppress(OSError):  # no accounting of swap
            write(f"{self.memory}/memory.memsw.limit_in_bytes", str(memory))

    def memory_killed(self) -> int:
        """How many processes the kernel has ended here for want of memory."""
        return _field(f"{self.memory}/memory.events", "oom_kill") or _field(
            f"{self.memory}/memory.oom_control", "oom_kill"
        )

    def refused(self) -> int:
        """How many processes the kernel did not let begin."""
        return _field(f"{self.pids}/pids.events", "max")

    def used(self) -> int:
        """Bytes of memory that processes hold; what is cached of files does not count."""
        stat = f"{self.memory}/memory.stat"
        found = _fields(stat)
        return found.get("anon", 0) or found.get("total_rss", found.get("rss", 0))

    def members(self) -> set[int]:
        """Processes in it; those outside of the caller's namespace are left out."""
        found: set[int] = set()
        for folder in self.folders():
            with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs") as file:
                found.update(int(pid) for pid in file.read().split())
        return found - {0}

    def kill(self) -> None:
        """End what is in it and below it, the caller too. Without cgroup.kill it may need repeating."""
        for cage in (self, *self._below()):
            with contextlib.suppress(OSError):
                if cage.tree:
                    write(f"{cage.tree}/cgroup.kill", "1")
                    continue
            for pid in cage.members():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def inside(self) -> "list[Cage]":
        """The groups below this one, one level of them."""
        names: set[str] = set()
        for folder in self.folders():
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                names.update(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return [self.below(name) for name in sorted(names)]

    def _below(self) -> "list[Cage]":
        """All groups below this one, parents first: a task that may can nest them."""
        found = level = self.inside()
        for _ in range(DEEPEST):
            level = [inner for cage in level for inner in cage.inside()]
            found = [*found, *level]
        return found

    def remove(self) -> bool:
        """End what is in it and take it away; whether it is gone."""
        for _ in range(int(GONE_S / PAUSE_S)):
            if all(_removed(folder) for cage in (*reversed(self._below()), self) for folder in cage.folders()):
                return True
            self.kill()
            select.select([], [], [], PAUSE_S)
        return False


NO_CAGE = Cage()


def _removed(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _fields(path: str) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _field(path: str, name: str) -> int:
    return _fields(path).get(name, 0)
