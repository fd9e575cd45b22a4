"""The agent of an executor: takes works, keeps what happened until the farm has it. Plain Python, no Ray."""

import json
import os
import pwd
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from executors.contract import EventKind, Running, Work
from executors.packed import Events
from executors.site.backlog import Backlog
from executors.site.ground import base, forget, of_executor, record
from executors.site.journal import Journal
from executors.site.proc import children, started_at
from executors.site.scratch import clear_all
from executors.site.slot import Floor, Slot, never_started
from executors.site.spool import Spools
from executors.site.veil import covering
from executors.store import FolderStore

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Agent:
    """One per executor, in its `folder`. Methods may be called from any thread; all return soon but `poll` and `stop`.

    A second agent in the same folder, after the first has died, goes on with its events; what ran is reported lost.
    """

    def __init__(self, executor: str, folder: str, slots: int, store: str | FolderStore) -> None:
        self.executor, self.folder = executor, Path(folder)
        for name in ("scratch", "work"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        clear_all([self.folder / "scratch", self.folder / "work"])
        forget(self.folder)
        self._spools = Spools(str(self.folder / "spool"))
        self._journal = Journal(str(self.folder / "events"), self._spools)
        self._backlog = Backlog(slots, self._wake)
        self._terms = _Terms(self.folder / "term")
        self._lease = Lease(self.folder / "lease")
        self._started = time.time_ns()
        self._mourn()
        self._cage = of_executor(base(), folder)
        record(self.folder, self._cage)
        held = store if isinstance(store, FolderStore) else opened(store)
        veil = covering(held.private)
        floor = Floor(self.folder, self._backlog, self._journal, self._spools, held, _environment(), self._cage, veil)
        self._slots = [Slot(n, floor) for n in range(slots)]
        for slot in self._slots:
            slot.start()

    def _mourn(self) -> None:
        """What an earlier agent of this folder had running died with it."""
        left = self._journal.unfinished()
        now = time.time_ns()
        self._journal.append(
            [
                {"kind": EventKind.FINISHED, "attempt": e.attempt, "token": e.token, "at": now, "exit": -9}
                | {"cause": "lost", "message": "its agent ended"}
                for e in left.values()
            ]
        )
        self._backlog.know(e.attempt for e in self._journal.finished())

    def _wake(self) -> None:
        for slot in self._slots:
            slot.wake()

    def submit(self, works: Sequence[Work]) -> None:
        """Take works; repeating an attempt changes nothing. One of an older term than seen ends as `stale-term`."""
        stale = [w for w in works if not self._terms.accepts(w.term)]
        self._journal.append([never_started(w, "stale-term", "another scheduler has taken over") for w in stale])
        unready = self._backlog.news(w for w in works if w.unready and w not in stale)
        why = {True: "secret", False: "inputs"}  # one that did not come in time may come the next time
        self._journal.append([never_started(w, why[w.hopeless], w.unready) for w in unready])
        self._backlog.add(w for w in works if w not in stale and not w.unready)
        self._wake()

    def poll(self, after: int, acknowledged: int, lease_s: float, wait_s: float, gather_s: float = 0) -> Events:
        """Events beyond `after`; forgets those up to `acknowledged`; waits up to `wait_s` while there are none, and
        then another `gather_s` for more of them, unless there is little left to do here."""
        self.renew(lease_s)
        self._journal.acknowledge(acknowledged)
        found = self._journal.after(after, wait_s, 0 if self._backlog.low else gather_s)
        if found and self._backlog.low:
            self._backlog.told()
        return found

    def renew(self, lease_s: float) -> None:
        """The executor may live for another `lease_s` seconds; 0 says nothing."""
        if lease_s > 0:
            self._lease.renew(lease_s)

    def cancel(self, attempts: Collection[str], grace_s: float) -> None:
        """TERM, then KILL after `grace_s`. Unknown and ended ones are fine."""
        waiting, held = self._backlog.cancel(attempts)
        self._journal.append([never_started(w, "cancelled") for w in waiting])
        self._backlog.forget(waiting)
        for number, attempt in held:
            self._slots[number].cancel(attempt, grace_s)

    def snapshot(self) -> list[Running]:
        running = {s.current.work.attempt for s in self._slots if s.current}
        return self._backlog.snapshot(self.executor, self._journal.finished(), running)

    def stop(self, grace_s: float) -> None:
        """Take nothing more, end what runs (TERM, `grace_s`, KILL), let the keepers go. Events can still be polled."""
        self.cancel(self._backlog.close(), grace_s)
        self._backlog.settled(grace_s + 2)
        for slot in self._slots:
            slot.end()
        for slot in self._slots:
            slot.join()
        forget(self.folder)
        self.nudge()

    def nudge(self) -> None:
        """Let the polls that wait now return."""
        self._journal.nudge()

    @property
    def last(self) -> int:
        """Number of the last event."""
        return self._journal.last

    def close(self) -> None:
        """After `stop`: let go of the files."""
        self._journal.close()

    def processes(self) -> list[dict[str, Any]]:
        """Executor, agent, keepers and tasks: {role, pid, started, executor, attempt}; `started` is ns of the epoch."""
        found = [*self._signed(), self._process("agent", os.getpid(), self._started)]
        for slot in self._slots:
            line, current = slot.line, slot.current
            if line is None:
                continue
            found.append(self._process("keeper", line.pid, slot.born))
            if current is not None:
                found.extend(
                    self._process("task", pid, started_at(pid), current.work.attempt) for pid in children(line.pid)
                )
        return found

    def _signed(self) -> list[dict[str, Any]]:
        """The executor's own process, where it has signed its folder."""
        try:
            pid = int(json.loads((self.folder / "machine.json").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return []
        return [self._process("executor", pid, started_at(pid))]

    def _process(self, role: str, pid: int, started: int, attempt: str = "") -> dict[str, Any]:
        return {"role": role, "pid": pid, "started": started, "executor": self.executor, "attempt": attempt}


def opened(where: str) -> FolderStore:
    """A folder, or the store elsewhere that a file describes."""
    if not where.endswith(".json"):
        return FolderStore(where)
    from executors.remote_store import RemoteStore

    return RemoteStore.described(where)


class _Terms:
    """The highest term of a scheduler that was ever heard here."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._highest = int(file.read_text() or 0) if file.exists() else 0
        _put(file, self._highest)

    def accepts(self, term: int) -> bool:
        with self._lock:
            if term > self._highest:
                self._highest = term
                _put(self._file, term)
            return term >= self._highest


class Lease:
    """Until when the executor may live: seconds of CLOCK_MONOTONIC in a file, written at most once a second."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock, self._written = file, threading.Lock(), 0.0

    def renew(self, lease_s: float) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._written < min(1.0, lease_s / 4):
                return
            self._written = now
            _put(self._file, now + lease_s)


def _put(file: Path, number: float) -> None:
    """Write a number in its place: once the file is there, a full disk has room for it."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb", buffering=0) as out:
        out.write(f"{number:<31}\n".encode())


def _environment() -> Mapping[str, str]:
    """What every task sees: nothing of the farm's, of Ray's or of who started it."""
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:  # a container's arbitrary user
        return {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8"}
    return {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"}
