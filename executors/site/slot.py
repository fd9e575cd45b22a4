"""One slot of an executor: a thread that feeds a keeper and turns what it says into events."""

import os
import select
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from executors.contract import PYTHON, EventKind, Work
from executors.packed import Went, plain
from executors.site.backlog import Backlog, solo, wants_folder
from executors.site.cage import NO_CAGE, Cage
from executors.site.journal import Facts, Journal
from executors.site.line import Line
from executors.site.proc import state
from executors.site.scratch import Desk, NoInputs, NoOutputs, NoRoom
from executors.site.spool import CHUNK, Spools
from executors.site.veil import Covered
from executors.store import FolderStore

LIMITS = ("timeout_s", "silence_s", "output_bytes", "memory_bytes", "processes")
_LIMITS = attrgetter(*LIMITS)
DEEPEST = 250  # works a keeper holds at most
AHEAD_S = 0.15  # … or as many as it can do in this time
TAIL_S = 0.1  # how often the output of a running task is looked at
SHORT_S = 0.5  # a keeper that lives no longer is not replaced at once
HARD_S = 5.0  # beyond a cancel's grace: the keeper itself is replaced
GLANCE_S = 1.0  # how often it is seen whether a keeper with work has been stopped
ROOM_S, LOOK_S = 10.0, 0.25  # how long a work waits for room on the disk, and how often it is looked for
FAILS = 10  # keepers in a row that live but for a moment: this executor is fit for nothing


@dataclass(frozen=True, slots=True)
class Floor:
    """What the slots of an executor share; `env` is the environment under that of each work."""

    folder: Path
    backlog: Backlog
    journal: Journal
    spools: Spools
    store: FolderStore
    env: Mapping[str, str]
    cage: Cage = NO_CAGE
    veil: Sequence[Covered] = ()


@dataclass(slots=True)
class Current:
    """The announced attempt; `shipped` is how far its output is in the journal."""

    work: Work
    started: int
    spool: str
    lo: int
    shipped: int


class Slot(threading.Thread):
    """The keeper is spawned by this thread and never outlives it."""

    def __init__(self, number: int, floor: Floor) -> None:
        super().__init__(name=f"slot-{number}", daemon=True)
        self.number, self.floor = number, floor
        self.current: Current | None = None
        self.line: Line | None = None
        self.born = 0
        self._held: dict[str, Work] = {}
        self._desk: Desk | None = None
        self._pace = 1.0
        self._orders: deque[tuple[str, float]] = deque()
        self._ending = False
        self._stopped, self._glance_at, self._fails = False, 0.0, 0
        self._hard: dict[str, float] = {}  # until when cancelled attempts may be held
        self._never = threading.Event()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # ── from other threads ───────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        os.eventfd_write(self._bell, 1)

    def cancel(self, attempt: str, grace_s: float) -> None:
        self._orders.append((attempt, grace_s))
        self.wake()

    def end(self) -> None:
        """Let the keeper go and end the thread; whatever still runs is killed."""
        self._ending = True
        self.wake()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """A slot that fails takes the whole agent with it: a farm that sees it gone helps itself."""
        self.floor.store.bear_with(lambda: not (self._ending or self._orders))
        try:
            while not self._ending:
                self._live()
        except BaseException:
            traceback.print_exc()
            os._exit(70)

    def _live(self) -> None:
        """The life of one keeper."""
        floor = self.floor
        line = self.line = Line(floor.folder, self.number, floor.env, cage=floor.cage, veil=floor.veil)
        born = time.monotonic()
        self.born = time.time_ns()
        try:
            self._serve(line)
        finally:
            line.close()
        self._bury()
        self._fails = self._fails + 1 if time.monotonic() - born < SHORT_S else 0
        if self._fails >= FAILS:
            raise RuntimeError(f"{FAILS} keepers have failed one after the other; see keeper.log")
        if not self._ending and self._fails:
            select.select([self._bell], [], [], SHORT_S)

    def _serve(self, line: Line) -> None:
        poller = select.poll()
        poller.register(self._bell, select.POLLIN)
        poller.register(line.out, select.POLLIN)
        while not self._ending and not self._overdue() and not self._frozen(line):
            while self._refill(line):
                pass
            files = self._wait(poller, line)
            if self._bell in files:
                os.eventfd_read(self._bell)
            self._pass_on(line)
            if line.out in files and not self._listen(line):
                return
            self._tail()

    def _wait(self, poller: select.poll, line: Line) -> list[int]:
        """For one of those that can be read. A keeper that has been stopped takes nothing: it must not hold us."""
        waits = line.waits
        if waits:
            poller.register(line.into, select.POLLOUT)
        files = [file for file, _ in poller.poll(TAIL_S * 1000 if self._held or waits else None)]
        if waits:
            poller.unregister(line.into)
            line.flush()
        return files

    def _overdue(self) -> bool:
        """Whether a cancelled attempt has outlived its grace by far: the keeper is stuck."""
        return bool(self._hard) and time.monotonic() > min(self._hard.values())

    def _frozen(self, line: Line) -> bool:
        """Whether somebody has stopped the keeper: seen twice, as it may go on."""
        now = time.monotonic()
        if not self._held or now < self._glance_at:
            return False
        self._glance_at = now + GLANCE_S
        before, self._stopped = self._stopped, state(line.pid) == "T"
        return before and self._stopped

    def _refill(self, line: Line) -> bool:
        """Hand works to the keeper; whether to look again at once."""
        depth = max(1, min(DEEPEST, int(AHEAD_S / self._pace)))
        if self.current or len(self._held) > depth // 2 or any(solo(work) for work in self._held.values()):
            return False
        works = self.floor.backlog.take(self.number, depth - len(self._held))
        if not works:
            return False
        self._held.update((work.attempt, work) for work in works)
        if wants_folder(works[0]) and not self._lay(works[0]):
            return True
        line.say({"run": [self._item(work) for work in works]})
        return False

    def _item(self, work: Work) -> list[Any]:
        cwd = self._desk.cwd if self._desk else work.cwd
        program = sys.executable if work.argv[:1] == (PYTHON,) else None
        argv = (program, *work.argv[1:]) if program else work.argv
        given = _LIMITS(work)
        limits = {name: value for name, value in zip(LIMITS, given, strict=True) if value} if any(given) else {}
        env, hidden = {**work.env, **work.secrets}, list(work.secrets.values())
        return [work.attempt, argv, env, cwd, work.owner, limits, hidden]

    def _lay(self, work: Work) -> bool:
        """Prepare the folder of a work; whether it can start."""
        self._desk = Desk(self.floor.folder / "work", work)
        try:
            self._prepare(self._desk)
        except NoInputs as why:
            now = time.time_ns()
            self._finish([[work.attempt, now, now, 1, "inputs", str(why), 0, 0, "", 0, 0]])
            return False
        return True

    def _prepare(self, desk: Desk) -> None:
        """On a full disk wait a while for room: handing the work back at once would bring it here again. Raises
        NoInputs."""
        until = time.monotonic() + ROOM_S
        while True:
            try:
                return desk.prepare(self.floor.store)
            except NoRoom:
                if self._ending or self._orders or time.monotonic() > until:
                    raise
                self._never.wait(LOOK_S)

    def _pass_on(self, line: Line) -> None:
        while self._orders:
            attempt, grace_s = self._orders.popleft()
            if attempt in self._held:
                line.say({"cancel": attempt, "grace": grace_s})
                self._hard[attempt] = time.monotonic() + grace_s + HARD_S

    # ── what the keeper says ─────────────────────────────────────────────────────────────────────

    def _listen(self, line: Line) -> bool:
        """Whether the keeper still lives."""
        words = line.hear()
        for word in words or ():
            if "done" in word:
                self._finish(word["done"])
            elif "started" in word:
                self._announce(line, *word["started"])
            else:
                self._returned(word["back"])
        return words is not None

    def _announce(self, line: Line, attempt: str, at: int, _pid: int, spool: str, lo: int) -> None:
        work = self._held[attempt]
        self.current = Current(work, at, spool, lo, lo)
        fact = {"kind": EventKind.STARTED, "attempt": attempt, "token": work.token, "at": at, "spool": spool, "lo": lo}
        self.floor.journal.append([fact])
        if len(self._held) > 1:  # a straggler: what waits behind it may go elsewhere
            line.say({"recall": 1})

    def _returned(self, attempts: Sequence[str]) -> None:
        if not attempts:  # it has just begun
            return self.floor.journal.stir()
        for attempt in attempts:
            del self._held[attempt]
            self._hard.pop(attempt, None)
        self._pace = max(self._pace, AHEAD_S)
        ended = self.floor.backlog.give_back(self.number, attempts)
        self.floor.journal.append([never_started(work, "cancelled") for work in ended])
        self.floor.backlog.forget(ended)
        return self.floor.backlog.wake()

    def _finish(self, ends: Sequence[Sequence[Any]]) -> None:
        facts: list[Facts] = []
        for end in ends:
            work = self._held.pop(end[0])
            self._hard.pop(end[0], None)
            if went := self._went(work, *end):
                facts.append(went)
            else:
                facts.extend(self._output(work, *end[8:]))
                facts.append(self._ended(work, *end))
            self._learn(end[1], end[2])
        if self.current and self.current.work.attempt not in self._held:
            self.current = None
        self.floor.journal.append(facts)
        self.floor.backlog.finished(self.number, [end[0] for end in ends])
        if self.floor.backlog.low:
            self.floor.journal.nudge()  # who gathers events does not wait for more

    def _went(
        self, work: Work, attempt: str, started: int, at: int, code: int, cause: str, text: str, *rest: Any
    ) -> Went | None:
        """The end as most are: nothing to be said, nothing to be kept."""
        cpu_ms, rss_kib, spool, lo, hi = rest
        if code or cause or text or lo != hi or not started or self._desk or not (plain(attempt) and plain(spool)):
            return None
        return Went(attempt, work.token, started, at, cpu_ms, rss_kib, spool, lo)

    def _learn(self, started: int, at: int) -> None:
        """How long a work takes here, lately; in seconds, one at most."""
        if started:
            self._pace = min(1.0, 0.8 * self._pace + 0.2 * (at - started) / 1e9)

    def _ended(
        self, work: Work, attempt: str, started: int, at: int, code: int, cause: str, text: str, *rest: Any
    ) -> Facts:
        cpu_ms, rss_kib, spool, lo, hi = rest
        fact: dict[str, Any] = {"kind": EventKind.FINISHED, "attempt": attempt, "token": work.token}
        fact |= {"at": at, "started": started, "exit": code, "cause": cause, "message": text}
        fact |= {"cpu_ms": cpu_ms, "rss_kib": rss_kib, "spool": spool, "lo": lo, "hi": hi}
        return fact | self._collected(cause, code, text)

    def _collected(self, cause: str, code: int, text: str) -> dict[str, Any]:
        """The outputs of the work that had a folder, or why there are none."""
        desk, self._desk = self._desk, None
        if desk is None:
            return {}
        try:
            if cause or code:
                return {}
            outputs = desk.collect(self.floor.store)
            return {"outputs": outputs, "message": "; ".join(filter(None, (text, desk.left_out())))}
        except NoOutputs as why:
            return {"exit": 1, "cause": "outputs", "message": str(why)}
        finally:
            desk.clear()

    def _output(self, work: Work, spool: str, lo: int, hi: int) -> Iterator[Facts]:
        current = self.current
        if current is not None and current.work is work:
            lo = max(lo, current.shipped)
        for start in range(lo, hi, CHUNK):
            end = min(hi, start + CHUNK)
            yield {
                "kind": EventKind.LOG,
                "attempt": work.attempt,
                "token": work.token,
                "spool": spool,
                "lo": start,
                "hi": end,
            }

    def _tail(self) -> None:
        """Ship what the running task has written since."""
        current = self.current
        if current is None:
            return
        size = self.floor.spools.size(current.spool)
        if size > current.shipped:
            self.floor.journal.append(list(self._output(current.work, current.spool, current.shipped, size)))
            current.shipped = size

    def _bury(self) -> None:
        """The keeper is gone: what it held is lost, or cancelled if that was wanted."""
        ends = []
        for attempt in self._held:
            at = time.time_ns()
            cause, text = ("cancelled", "") if attempt in self._hard or self._ending else ("lost", "its keeper ended")
            began = self.current if self.current and self.current.work.attempt == attempt else None
            spool, lo, hi = (began.spool, began.lo, began.shipped) if began else ("", 0, 0)
            ends.append([attempt, began.started if began else 0, at, -9, cause, text, 0, 0, spool, lo, hi])
        if ends:
            self._finish(ends)


def never_started(work: Work, cause: str, text: str = "") -> Facts:
    """The end of a work that had no process."""
    fact: dict[str, Any] = {"kind": EventKind.FINISHED, "attempt": work.attempt, "token": work.token}
    return fact | {"at": time.time_ns(), "exit": -15, "cause": cause, "message": text}
