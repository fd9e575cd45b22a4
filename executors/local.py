"""Executors on this machine: the embedded default, and the provider of trials and demos."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from executors.contract import Machine, Offer, Order, Placed, Refusal, Surroundings
from executors.errors import Refused, SoldOut
from executors.local_books import Books
from executors.options import Options, checked
from executors.passed_on import for_python
from executors.site.proc import below, state
from executors.site.process import Process
from executors.site.raylet import write_private
from executors.site.ticket import Ticket

OFFER = "local"
SHARES_DEVICES = True  # of this machine: each is given to one executor
TERM_S = 5.0
FAREWELL_S = 20.0  # for one that speaks with the farm by itself, and tells it how all of it ended
ROOM_S = 1.0  # an executor that is on its way out makes room within this time


class LocalOptions(Options):
    """`slots` per executor where an order does not say; `ceiling` is slots in all, the cores when not given."""

    price_per_hour: Decimal = Decimal(0)
    slots: int = 1
    ceiling: int | None = None


def provider(options: Mapping[str, Any], around: Surroundings) -> "LocalProvider":
    """Raises Refused when an option is unknown or makes no sense."""
    return LocalProvider(checked(LocalOptions, options, "local"), around)


class LocalProvider:
    """Each executor is a process in a session of its own: it survives this one, and is found again by its folder."""

    def __init__(
        self,
        options: LocalOptions,
        around: Surroundings,
        offer: str = OFFER,
        furnish: Callable[[Ticket], None] = lambda _ticket: None,
    ) -> None:
        """`furnish` puts more into the folder of an executor before it starts; may raise OSError."""
        self._options, self._around = options, around
        self._offer, self._furnish = offer, furnish
        self._ceiling = options.ceiling if options.ceiling is not None else len(os.sched_getaffinity(0))
        self._books = Books(Path(around.home), around.pool)
        self._lock = threading.RLock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._asked: set[str] = set()
        self._noticed = {m.id for m in self._books.machines(self._alive) if m.ended_at}
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = False
        self._patience_s = TERM_S if around.network == "local" else FAREWELL_S

    def offers(self) -> Sequence[Offer]:
        return [Offer(self._offer, self._options.slots, self._options.price_per_hour)]

    # ── launching ────────────────────────────────────────────────────────────────────────────────

    def launch(self, order: Order, /) -> Placed:
        until = time.monotonic() + ROOM_S
        with self._lock:
            machines = [m for n in range(1, order.count + 1) if (m := self._one(order, f"{order.token}-{n}", until))]
        os.eventfd_write(self._bell, 1)
        if len(machines) == order.count:
            return Placed(tuple(machines))
        full = SoldOut(f"this machine gives {self._ceiling} slots in all, and they are taken")
        if not machines:
            raise full
        return Placed(tuple(machines), (Refusal(self._offer, full),))

    def _one(self, order: Order, name: str, until: float) -> Machine | None:
        """The machine of this name, started unless it ever was; None when there is no room for it."""
        known = self._books.find(name, self._alive)
        if known is not None and (known.ended_at or self._process(name)):
            return known
        slots = order.slots or self._options.slots
        if known is None and not self._room(slots, until):
            return None
        folder = self._books.open(name, order.token, slots)
        self._spawn(name, folder, slots)
        return self._books.find(name, self._alive)

    def _room(self, slots: int, until: float) -> bool:
        while sum(m.slots for m in self.machines() if not m.ended_at) + slots > self._ceiling:
            left = until - time.monotonic()
            if left <= 0 or not self._wait_for_an_end(left):
                return False
        return True

    def _wait_for_an_end(self, seconds: float) -> bool:
        with self._descriptors() as ends:
            return bool(_readable(ends, seconds))

    def _spawn(self, name: str, folder: Path, slots: int) -> None:
        try:
            words = self._words(name, folder, slots)
            with open(folder / "executor.log", "ab") as log:
                self._children[name] = subprocess.Popen(
                    [sys.executable, "-P", "-m", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                    env=for_python(),
                    start_new_session=True,
                )
        except OSError as error:
            self._books.close(name, time.time_ns(), str(error))
            raise Refused(f"an executor can't be started: {error.strerror}; see `farm doctor`") from error

    def _words(self, name: str, folder: Path, slots: int) -> list[str]:
        """The program of an executor, and its ticket; as if it were elsewhere, where the pool says so."""
        a = self._around
        if a.network == "outbound":
            return self._invited(name, folder, slots)
        file = folder / "ticket.json"
        ticket = Ticket(name, a.farm, a.run, str(folder), a.store, slots, a.engine, a.lease.total_seconds())
        self._furnish(ticket)
        ticket.write(file)
        return ["executors.site.executor", "--ticket", str(file)]

    def _invited(self, name: str, folder: Path, slots: int) -> list[str]:
        if self._around.invite is None:
            raise Refused("this farm has no address for executors elsewhere")
        write_private(folder / "invitation.json", self._around.invite(name, slots).text())
        return ["executors.site.elsewhere", "--ticket", str(folder / "invitation.json"), "--folder", str(folder)]

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def machines(self) -> Sequence[Machine]:
        with self._lock:
            return self._books.machines(self._alive)

    def _alive(self, name: str) -> bool | None:
        """Whether its process lives; None when it has not signed yet."""
        child = self._children.get(name)
        if child is not None and child.poll() is None:
            return True
        self._children.pop(name, None)
        signed = self._books.process(name)  # by another life of ours, which started it a moment before we did again
        if signed is not None:
            return signed.alive()
        return None if child is None else False

    def _process(self, name: str) -> Process | None:
        child = self._children.get(name)
        try:
            return Process.of(child.pid) if child is not None else self._books.process(name)
        except ProcessLookupError:
            return None

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        deadline = time.monotonic() + timeout.total_seconds()
        while not self._closed:
            gone = self._gone()
            left = deadline - time.monotonic()
            if gone or left <= 0:
                return gone
            with self._descriptors() as ends:
                woken = _readable([*ends, self._bell], left)
            if self._bell in woken and not self._closed:
                os.eventfd_read(self._bell)
        return []

    def _gone(self) -> list[str]:
        with self._lock:
            listed = self.machines()
            ended = {m.id for m in listed if m.ended_at}
            fresh = ended - self._noticed - self._asked
            self._noticed = ended
            self._asked &= {m.id for m in listed}
        if fresh and self._around.network == "outbound":
            _sweep()
        return sorted(fresh)

    @contextlib.contextmanager
    def _descriptors(self) -> Iterator[list[int]]:
        """A pidfd per living executor: readable when it has ended."""
        opened = []
        with self._lock:
            for machine in self.machines():
                process = None if machine.ended_at else self._process(machine.id)
                if process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        opened.append(os.pidfd_open(process.pid))
        try:
            yield opened
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def close(self) -> None:
        self._closed = True
        os.eventfd_write(self._bell, 1)

    # ── ending ───────────────────────────────────────────────────────────────────────────────────

    def terminate(self, ids: Collection[str], /) -> None:
        with self._lock:
            ended = {m.id for m in self.machines() if m.ended_at}
            living = {name: p for name in ids if name not in ended and (p := self._process(name))}
            self._asked.update(living)
        trees = {name: _tree(process.pid) for name, process in living.items()}
        for name, process in living.items():
            self._books.ask(name)
            process.signal(signal.SIGTERM)
        for name, process in living.items():
            if state(process.pid) == "T" or not process.wait(self._patience_s):  # a stopped one will not hear
                process.signal(signal.SIGKILL)
                process.wait(TERM_S)
            for left in trees[name]:
                left.signal(signal.SIGKILL)
        if living and self._around.network == "outbound":
            _sweep()
        self.machines()


def _sweep() -> None:
    """What those that were killed have left outside of our folders."""
    from executors.site.place import sweep

    sweep()


def _readable(files: Sequence[int], seconds: float) -> list[int]:
    """Those of `files` that can be read within the time; many are fine."""
    poller = select.poll()
    for file in files:
        poller.register(file, select.POLLIN)
    return [file for file, _ in poller.poll(max(0.0, seconds) * 1000)]


def _tree(pid: int) -> list[Process]:
    """All descendants, the deepest last."""
    found: list[Process] = []
    depth = 1
    while level := below(pid, depth):
        for one in level:
            with contextlib.suppress(ProcessLookupError):
                found.append(Process.of(one))
        depth += 1
    return found
