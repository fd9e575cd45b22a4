"""A site with executors around it, for the contract suites."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from executors import local
from executors.contract import Event, EventKind, Machine, MachineState, Order, Provider, Site, Surroundings, Work
from executors.site.cage import Cage
from executors.site.ground import base, of_executor
from executors.store import FolderStore

T = TypeVar("T")
PATIENCE_S = 60.0
SOON = timedelta(seconds=0.5)


def eventually(look: Callable[[], T], within: float = PATIENCE_S) -> T:
    """What `look` answers as soon as it is true."""
    deadline, pause = time.monotonic() + within, threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, f"did not happen within {within} s"
        pause.wait(0.01)
    return found


def commands_with(mark: str) -> list[str]:
    """Command lines on this machine that hold `mark`; the dead are not counted."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in words:
            found.append(words)
    return found


def tickets() -> Iterator[tuple[int, str]]:
    """Processes that are executors, in guests of this machine too, with the files of their tickets as they see them."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "executors.site.executor" in words and "--ticket" in words:
            yield int(folder.name), words[words.index("--ticket") + 1]


class Yard:
    """`make(run)` gives a Site; executors come from the local provider with `engine`, or from another `source`."""

    patience_s = PATIENCE_S
    noticed_s = 10.0  # by then a killed executor is lost, and nothing of it is left

    def __init__(
        self,
        engine: str,
        make: Callable[[str], Site],
        lease_s: float = 300,
        source: Callable[[Surroundings], Provider] = lambda around: local.provider({"ceiling": 64}, around),
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="fy-", dir="/tmp"))  # sockets want short paths
        self._make = make
        self.run = str(self.home / "r")
        Path(self.run).mkdir(mode=0o700)
        self.store = FolderStore(self.home / "store")
        around = Surroundings(
            "f1", "local", str(self.home / "p"), self.run, str(self.store.root), engine, timedelta(seconds=lease_s)
        )
        self.provider = source(around)
        self.site = make(self.run)
        self.cursor: dict[str, int] = {}
        self.seen: list[Event] = []
        self._orders = 0

    def work(self, attempt: str, *argv: str, **more: object) -> Work:
        return Work(**{"attempt": attempt, "token": 1, "term": 1, "argv": argv, **more})

    def executor(self, slots: int = 2) -> str:
        """One that is ready and has nothing to do."""
        self._orders += 1
        (machine,) = self.launch(Order(f"order{self._orders}", "local", 1, slots))
        self.site.attach(machine.id, slots)
        eventually(lambda: machine.id in self.ready(), self.patience_s)
        return machine.id

    def lasting(self, slots: int) -> str:
        """One that nobody else gets."""
        return self.executor(slots)

    def launch(self, order: Order) -> Sequence[Machine]:
        return self.provider.launch(order).machines

    def process(self, executor: str) -> int:
        """That of the executor itself, found by its ticket, as this machine counts."""
        (found,) = (pid for pid, ticket in tickets() if f"/{executor}/" in ticket and str(self.home) in ticket)
        return found

    def cage(self, executor: str) -> Cage:
        """Its control group, if such can be made where it is."""
        return of_executor(base(), str(self.home / "p" / "executors" / executor))

    def commands_with(self, mark: str) -> list[str]:
        """Command lines that hold `mark`, wherever executors of this yard run theirs."""
        return commands_with(mark)

    def touch(self, on: str, path: Path) -> None:
        """Make a file where works of this executor can see it."""
        path.touch()

    def ready(self) -> list[str]:
        return [r.executor for r in self.site.ready()]

    def states(self, on: str, job: str) -> dict[str, str]:
        """What this executor tells of the attempts of a job."""
        told = (r for r in self.site.snapshot() if r.executor == on)
        return {r.attempt: r.state for r in told if r.attempt.startswith(job)}

    def again(self) -> None:
        """The gateway is restarted."""
        self.site.close()
        self.site = self._make(self.run)

    def look(self, wait: timedelta = SOON) -> list[Event]:
        """Events that are new; they are remembered."""
        fresh = []
        for executor, events in self.site.events(self.cursor, wait).items():
            assert [e.seq for e in events] == list(
                range(self.cursor.get(executor, 0) + 1, self.cursor.get(executor, 0) + 1 + len(events))
            )
            self.cursor[executor] = events[-1].seq
            fresh.extend(events)
        self.seen.extend(fresh)
        return fresh

    def until(self, *attempts: str) -> list[Event]:
        """The ends of these attempts, in this order."""
        deadline = time.monotonic() + self.patience_s
        while missing := set(attempts) - {e.attempt for e in self.finished()}:
            assert time.monotonic() < deadline, f"no end of {missing}"
            self.look()
        by_attempt = {e.attempt: e for e in self.finished()}
        return [by_attempt[a] for a in attempts]

    def until_started(self, attempt: str) -> Event:
        deadline = time.monotonic() + self.patience_s
        while True:
            for event in self.seen:
                if event.attempt == attempt and event.kind is EventKind.STARTED:
                    return event
            assert time.monotonic() < deadline, f"{attempt} does not start"
            self.look()

    def finished(self) -> list[Event]:
        return [e for e in self.seen if e.kind is EventKind.FINISHED]

    def log(self, attempt: str) -> bytes:
        return b"".join(e.data for e in self.seen if e.attempt == attempt and e.kind is EventKind.LOG)

    def result(self, on: str, work: Work) -> Event:
        """Run one work to its end."""
        self.site.start([work], on)
        (end,) = self.until(work.attempt)
        return end

    def ended(self, executor: str) -> bool:
        """Whether the provider says so."""
        return any(m.id == executor and m.state is MachineState.ENDED for m in self.provider.machines())

    def close(self) -> None:
        self.provider.terminate([m.id for m in self.provider.machines()])
        self.provider.close()
        self.site.close()
        shutil.rmtree(self.home, ignore_errors=True)
