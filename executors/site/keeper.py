"""The keeper of one slot: runs attempts one after another and lets nothing outlive them.

    main(SPOOLS, SLOT, SCRATCH, "alone" or "shared")

Standard library and its neighbours only, single-threaded: Python's posix_spawn sets no folder, so the keeper changes
its own. Lines of JSON come in: {"env": {…}, "home": cage, "cage": cage, "veil": covered} first, then {"run": [item…]},
{"cancel": id, "grace": s}, {"recall": 1}; an item is [id, argv, env, cwd, owner, limits, hidden]. Lines go out:
{"started": [id, at, pid, spool, lo]}, {"back": [id…]},
{"done": [[id, started, at, exit, cause, message, cpu_ms, rss_kib, spool, lo, hi]…]}. End of input ends everything.

Output passes through one pipe that lives as long as the keeper: a task never holds the spool itself, so it can
neither truncate it (`> /dev/stderr` would) nor overwrite earlier lines.
"""

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
from collections import deque
from typing import Any

from executors.site.blot import Blot
from executors.site.brood import Brood
from executors.site.cage import NO_CAGE, Cage
from executors.site.footing import PIPE, handed_down, settle, slim, waiting
from executors.site.guard import end_all_below, guarded
from executors.site.limits import Broken, Limits, Meter, beyond_memory
from executors.site.proc import descendants, myself
from executors.site.programs import NotStarted, Programs, unstartable
from executors.site.rubble import full
from executors.site.scratchpad import Scratchpad
from executors.site.spooler import Spooler
from executors.site.veil import draw

QUIET_S = 0.02  # a task that ends sooner is reported once, as done
REPORT_S = 0.06
REPORT_N = 200
LISTEN_S = 0.01
PAUSE_S = 0.005  # between reads of a task that writes little and often
ENDED = (signal.SIGCHLD,)
RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


class Keeper:
    """`alone`: pid 1 of its own namespace, so that kill(-1) reaches all that a task has left and nothing else."""

    def __init__(self, spool: Spooler, scratch: str, alone: bool) -> None:
        self.spool, self.scratch, self.alone = spool, Scratchpad(scratch), alone
        self.env: dict[str, str] = {}
        self.queue: deque[list[Any]] = deque()
        self.done: list[list[Any]] = []
        self.reported = self.heard = 0.0
        self.rest = b""
        self.programs = Programs()
        self.pid, self.brood = 0, Brood()
        self.current: Any = None
        self.cause, self.message, self.kill_at, self.deaf_until = "", "", 0.0, 0.0
        self.limits: Any = None
        self.blot: Blot | None = None
        self.bulky = False
        self.home, self.cage, self.cages = Cage(), Cage(), 0
        self.ears, self.mouth, self.source = handed_down()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDED)
        self.poller = select.poll()
        self.poller.register(self.ears, select.POLLIN)
        self.poller.register(self.source, select.POLLIN)

    def serve(self) -> None:
        self.say(back=[])  # it is here
        while True:
            if not self.queue:
                self.report()
                self.poller.poll()
                self.drain()
                self.listen()
                continue
            self.run(self.queue.popleft())
            now = time.monotonic()
            if len(self.done) >= REPORT_N or now - self.reported > REPORT_S:
                self.report()
            if now - self.heard > LISTEN_S:
                self.listen()

    def say(self, **words: Any) -> None:
        data = json.dumps(words, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self.mouth, data) :]

    def report(self) -> None:
        self.reported = time.monotonic()
        self.brood.count()
        self.spool.flush()
        if self.bulky:
            self.bulky = False
            slim()
        if self.done:
            done, self.done = self.done, []
            for end in done:
                if text := self.spool.complaint(*end[8:11]):
                    end[5] = f"{end[5]}; {text}" if end[5] else text
            self.say(done=done)

    def listen(self) -> None:
        """Take in what has come; nothing more to come ends the keeper and all below it."""
        self.heard = time.monotonic()
        while True:
            try:
                data = os.read(self.ears, 1 << 20)
            except BlockingIOError:
                return
            if not data:
                self.sweep()
                os._exit(0)
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                self.obey(json.loads(line))

    def obey(self, word: dict[str, Any]) -> None:
        if "run" in word:
            self.programs.forget()
            self.queue.extend(word["run"])
        elif "cancel" in word:
            self.cancel(word["cancel"], word["grace"])
        elif "recall" in word:
            back = [item[0] for item in self.queue]
            self.queue.clear()
            self.say(back=back)
        else:
            self.env, self.home, self.cage = word["env"], Cage(*word["home"]), Cage(*word["cage"])
            draw(word["veil"])

    def cancel(self, attempt: str, grace: float) -> None:
        if self.current is not None and self.current[0] == attempt:
            self.end(Broken("cancelled", "", grace))
            return
        for item in [i for i in self.queue if i[0] == attempt]:
            self.queue.remove(item)
            self.done.append([attempt, 0, time.time_ns(), -15, "cancelled", "", 0, 0, "", 0, 0])
            self.report()

    def run(self, item: list[Any]) -> None:
        self.current, self.cause, self.message = item, "", ""
        lo, brood = self.spool.begin(item[4]), self.brood
        self.blot = Blot(item[6]) if item[6] else None
        started, began, code = time.time_ns(), time.monotonic(), 0
        self.limits = limits = Limits(item[5], began) if item[5] else None  # most tasks have none
        brood.begin()
        try:
            self.pid = self.confined(item, limits) if limits and limits.confining else self.spawn(item)
        except NotStarted as why:
            code, self.cause, self.message = why.code, why.cause, str(why)
            usage = (0, 0)
        else:
            if not self.soon(began + QUIET_S):
                self.watch(item, started, lo, began)
            code = os.waitstatus_to_exitcode(brood.status)
            usage = self.conclude(self.limits, code)
        self.pid, self.current = 0, None
        at, spool, text = time.time_ns(), self.spool, self.message
        self.done.append([item[0], started, at, code, self.cause, text, *usage, spool.name, lo, spool.size])
        self.scratch.tidy()

    def conclude(self, limits: Limits | None, code: int) -> tuple[int, int]:
        """Its process has ended: what it left ends too, and what it used is added up."""
        cage = limits.meter.cage if limits else NO_CAGE
        if limits and cage:
            cage.kill()
        self.sweep()
        self.drain()
        if self.blot:
            self.spool.add(self.blot.rest())
        cut = self.spool.end()
        if limits and limits.given and not self.cause and (found := limits.broken_at_last()):
            self.cause, self.message = found.cause, found.message
        if code and not self.cause:
            self.explain(code)
        if cut:
            self.bulky = True
            why = self.message or (f"exit {code}" if code > 0 else f"signal {-code}" if code else "")
            self.message = f"{why}; {cut}" if why else cut
        if limits and cage:
            cage.remove()
        cpu_ms, rss_kib = self.brood.usage()
        return (cpu_ms, max(rss_kib, limits.peak >> 10)) if limits else (cpu_ms, rss_kib)

    def explain(self, code: int) -> None:
        """It failed by itself, and maybe something else is to blame."""
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            self.message = "it was killed, and not by the farm: maybe out of memory"
        elif full(self.scratch.path):
            self.cause, self.message = "disk", "the executor's disk was full when it ended"

    def confined(self, item: list[Any], limits: Limits) -> int:
        """Spawn it in a group of its own. The keeper is in there for a moment: room for it, and no limit on memory
        before it has left, or the kernel might choose it."""
        self.cages += 1
        cage = self.cage.below(f"{self.spool.slot}.{self.cages}")
        try:
            self.cage.offer()
            cage.make()
            cage.limit(0, limits.processes and limits.processes + 1)
            cage.join()
        except OSError:  # then it is watched without
            self.leave(cage)
            return self.spawn(item)
        try:
            pid = self.spawn(item)
        except NotStarted:
            self.leave(cage)
            raise
        if not self.home.joined():  # to end all in there would end the keeper: watched without, too
            return pid
        limits.meter = Meter(cage)
        try:
            cage.limit(limits.most, limits.processes)
        except OSError:  # it holds more already
            self.pid = pid
            self.end(beyond_memory(limits.most))
        return pid

    def leave(self, cage: Cage) -> None:
        """Take it away; while the keeper may be in there it stays, and goes with the slot's line."""
        if self.home.joined():
            cage.remove()

    def spawn(self, item: list[Any]) -> int:
        argv, env = item[1], {**self.env, **item[2]}
        if not argv:
            raise NotStarted(127, "no-program", "there is no command to run")
        self.enter(item[3])
        path = self.programs.find(argv[0], env.get("PATH", ""))
        try:
            return self.launch(path, argv, env)
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # a script without #!: as every shell does
                return self.launch("/bin/sh", ["/bin/sh", path, *argv[1:]], env)
            raise unstartable(argv[0], error) from error
        except (ValueError, TypeError) as error:
            raise NotStarted(126, "no-program", f"the program {argv[0]} can't be started: {error}") from error

    def launch(self, path: str, argv: list[str], env: dict[str, str]) -> int:
        return os.posix_spawn(path, argv, env, setpgroup=0, setsigmask=(), setsigdef=RESET)

    def enter(self, cwd: str) -> None:
        if not cwd:
            return self.scratch.enter()
        try:
            self.scratch.leave(cwd)
        except OSError as error:
            raise NotStarted(126, "cwd", f"the folder {cwd} can't be entered: {error.strerror}") from error

    def watch(self, item: list[Any], started: int, lo: int, began: float) -> None:
        """It takes longer. Until its own process has ended, keep listening and moving output."""
        limits: Limits = self.limits or Limits({}, began)
        self.limits, announce_at = limits, began + QUIET_S
        child = os.pidfd_open(self.pid)
        self.poller.register(child, select.POLLIN)
        try:
            while not self.turn(child, announce_at):
                now = time.monotonic()
                if announce_at and now >= announce_at:
                    announce_at = 0.0
                    self.report()
                    self.say(started=[item[0], started, self.pid, self.spool.name, lo])
                if not announce_at:
                    self.spool.flush()
                self.press(now)
        finally:
            self.kill_at = 0.0
            self.poller.unregister(child)
            os.close(child)

    def soon(self, until: float) -> bool:
        """Wait for nothing but its end, in one call; whether it came before `until`. Nobody is served meanwhile."""
        if self.kill_at or (self.limits and self.limits.within(until)):
            return False
        while (left := until - time.monotonic()) > 0:
            signal.sigtimedwait(ENDED, left)
            if self.brood.reap(self.pid):
                return True
        return False

    def turn(self, child: int, announce_at: float) -> bool:
        """Wait for one thing to happen; whether the attempt has ended."""
        now = time.monotonic()
        if self.deaf_until and now >= self.deaf_until:
            self.deaf_until = 0.0
            self.poller.register(self.source, select.POLLIN)
        wakes = [w for w in (announce_at, self.kill_at, self.deaf_until) if w]
        if not self.cause:
            wakes.extend(self.limits.due())
        ready = self.poller.poll(max(0.0, min(wakes) - now) * 1000 + 0.5)
        files = [file for file, _ in ready]
        if self.source in files and (self.drain() < 65536 or self.spool.full):
            self.poller.unregister(self.source)
            self.deaf_until = now + PAUSE_S
        if self.ears in files:
            self.listen()
        return (child in files or not ready) and self.brood.reap(self.pid)

    def press(self, now: float) -> None:
        """Enforce the limits, then the grace."""
        if not self.cause and (found := self.limits.broken(now)):
            self.end(found)
        if self.kill_at and now >= self.kill_at:
            self.kill_at = now + 1
            self.signal(signal.SIGKILL)

    def end(self, why: Broken) -> None:
        if not self.cause:
            self.cause, self.message = why.cause, why.message
        asked = time.monotonic() + why.grace_s
        if not self.kill_at or asked < self.kill_at:
            self.kill_at = asked
        self.signal(signal.SIGTERM if why.grace_s else signal.SIGKILL)
        self.signal(signal.SIGCONT)  # a stopped one hears nothing else

    def signal(self, number: int) -> None:
        """To all of the attempt."""
        with contextlib.suppress(ProcessLookupError):
            if self.alone:
                os.kill(-1, number)
                return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        for pid in descendants(myself(), 10_000):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def drain(self) -> int:
        """Move what is in the pipe to the spool, one pipe's worth at most; bytes moved."""
        moved = 0
        while moved < PIPE and (size := waiting(self.source)):
            try:
                data = os.read(self.source, size)
            except BlockingIOError:  # a task has opened what it writes to, and has read it itself
                break
            self.spool.add(self.blot.take(data) if self.blot else data)
            moved += len(data)
        if moved and self.limits:
            self.limits.wrote(moved, time.monotonic())
        return moved

    def sweep(self) -> None:
        """Kill whatever is left below this keeper. Who has no child has nothing below: orphans become its children."""
        if self.brood.none():
            return
        if self.alone:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(-1, signal.SIGKILL)
                while True:
                    os.waitpid(-1, 0)
            return
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        end_all_below()


def main(spools: str, slot: str, scratch: str, company: str) -> None:
    alone = company == "alone"
    if alone and os.getpid() != 1:
        sys.exit("not pid 1 of a namespace: kill(-1) would reach others")
    settle()
    if not alone:
        guarded()
    pad = Scratchpad(scratch)
    pad.tidy()
    pad.make()
    Keeper(Spooler(spools, slot), scratch, alone).serve()
