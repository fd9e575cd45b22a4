"""The keeper of one slot: runs attempts one after another and lets nothing outlive them.

    python -ISE keeper.py SPOOLS SLOT SCRATCH alone|shared

A single file, standard library only, single-threaded: Python's posix_spawn sets no folder, so the keeper changes its
own. Lines of JSON come in: {"env": {…}} first, then {"run": [item…]}, {"cancel": id, "grace": s}, {"recall": 1}; an
item is [id, argv, env, cwd, timeout_s, owner]. Lines go out: {"started": [id, at, pid, spool, lo]},
{"done": [[id, started, at, exit, cause, message, cpu_ms, rss_kib, spool, lo, hi]…]}, {"back": [id…]}.
End of input ends everything.

Output passes through one pipe that lives as long as the keeper: a task never holds the spool itself, so it can
neither truncate it (`> /dev/stderr` would) nor overwrite earlier lines.
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections import deque
from typing import Any

QUIET_S = 0.02  # a task that ends sooner is reported once, as done
REPORT_S = 0.025
REPORT_N = 16
PAUSE_S = 0.005  # between reads of a task that writes little and often
GRACE_S = 5.0  # after a time-out
ROLL = 64 << 20
PIPE = 1 << 20
F_SETPIPE_SZ = 1031  # fcntl(2)
RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


class Spool:
    """Append-only output of a slot, in files SLOT-1, SLOT-2, … ; written when `flush` is called."""

    def __init__(self, folder: str, slot: str) -> None:
        self.folder, self.slot = folder, slot
        numbers = [int(n.rpartition("-")[2]) for n in os.listdir(folder) if n.rpartition("-")[0] == slot]
        self.number, self.size, self.file, self.owner = max(numbers, default=0), 0, -1, ""
        self.held: list[bytes] = []
        self.roll()

    def roll(self) -> None:
        self.flush()
        if self.file >= 0:
            os.close(self.file)
        self.number, self.size = self.number + 1, 0
        self.name = f"{self.slot}-{self.number}"
        path = os.path.join(self.folder, self.name)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def begin(self, owner: str) -> int:
        """Where the next attempt's output starts; owners never share a file."""
        if self.size > ROLL or (owner != self.owner and self.size):
            self.roll()
        self.owner = owner
        return self.size

    def add(self, data: bytes) -> None:
        self.held.append(data)
        self.size += len(data)

    def flush(self) -> None:
        data, self.held = b"".join(self.held), []
        while data:
            try:
                data = data[os.write(self.file, data) :]
            except OSError:  # a full disk must not end the task: the gap reads as zeros
                os.ftruncate(self.file, self.size)
                return


class Keeper:
    """`alone`: pid 1 of its own namespace, so that kill(-1) reaches all that a task has left and nothing else."""

    def __init__(self, spool: Spool, scratch: str, alone: bool) -> None:
        self.spool, self.scratch, self.alone = spool, scratch, alone
        self.env: dict[str, str] = {}
        self.queue: deque[list[Any]] = deque()
        self.done: list[list[Any]] = []
        self.reported = 0.0
        self.rest = b""
        self.paths: dict[tuple[str, str], str] = {}
        self.pid, self.status, self.usage = 0, 0, (0, 0)
        self.current: Any = None
        self.cause, self.kill_at, self.deaf_until = "", 0.0, 0.0
        self._open_pipe()
        self.poller = select.poll()
        self.poller.register(0, select.POLLIN)
        self.poller.register(self.source, select.POLLIN)
        os.set_blocking(0, False)

    def _open_pipe(self) -> None:
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.source, F_SETPIPE_SZ, PIPE)
        self.actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self.sink, 1),
            (os.POSIX_SPAWN_DUP2, self.sink, 2),
        ]

    def serve(self) -> None:
        while True:
            if not self.queue:
                self.report()
                self.poller.poll()
                self.drain()
                self.listen()
                continue
            self.run(self.queue.popleft())
            if len(self.done) >= REPORT_N or time.monotonic() - self.reported > REPORT_S:
                self.report()

    def say(self, **words: Any) -> None:
        sys.stdout.write(json.dumps(words, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def report(self) -> None:
        self.reported = time.monotonic()
        self.spool.flush()
        if self.done:
            done, self.done = self.done, []
            self.say(done=done)

    def listen(self) -> None:
        """Take in what has come; nothing more to come ends the keeper and all below it."""
        while True:
            try:
                data = os.read(0, 1 << 20)
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
            self.paths.clear()
            self.queue.extend(word["run"])
        elif "cancel" in word:
            self.cancel(word["cancel"], word["grace"])
        elif "recall" in word:
            back = [item[0] for item in self.queue]
            self.queue.clear()
            self.say(back=back)
        else:
            self.env = word["env"]

    def cancel(self, attempt: str, grace: float) -> None:
        if self.current is not None and self.current[0] == attempt:
            self.end("cancelled", grace)
            return
        for item in [i for i in self.queue if i[0] == attempt]:
            self.queue.remove(item)
            self.done.append([attempt, 0, time.time_ns(), -15, "cancelled", "", 0, 0, "", 0, 0])
            self.report()

    def run(self, item: list[Any]) -> None:
        self.current, self.cause = item, ""
        lo = self.spool.begin(item[5])
        started, message, code = time.time_ns(), "", 0
        try:
            self.pid = self.spawn(item)
        except NotStarted as why:
            code, self.cause, message = why.code, why.cause, str(why)
            self.usage = (0, 0)
        else:
            self.watch(item, started, lo)
            code = os.waitstatus_to_exitcode(self.status)
            self.sweep()
            self.drain()
        self.pid, self.current = 0, None
        at, spool = time.time_ns(), self.spool
        self.done.append([item[0], started, at, code, self.cause, message, *self.usage, spool.name, lo, spool.size])
        self.tidy()

    def spawn(self, item: list[Any]) -> int:
        argv, env = item[1], {**self.env, **item[2]}
        if not argv:
            raise NotStarted(127, "no-program", "there is no command to run")
        self.enter(item[3])
        path = self.find(argv[0], env.get("PATH", ""))
        try:
            return self.launch(path, argv, env)
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # a script without #!: as every shell does
                return self.launch("/bin/sh", ["/bin/sh", path, *argv[1:]], env)
            raise unstartable(argv[0], error) from error
        except (ValueError, TypeError) as error:
            raise NotStarted(126, "no-program", f"the program {argv[0]} can't be started: {error}") from error

    def launch(self, path: str, argv: list[str], env: dict[str, str]) -> int:
        return os.posix_spawn(path, argv, env, file_actions=self.actions, setpgroup=0, setsigmask=(), setsigdef=RESET)

    def enter(self, cwd: str) -> None:
        try:
            os.chdir(cwd or self.scratch)
        except OSError as error:
            if cwd:
                raise NotStarted(126, "cwd", f"the folder {cwd} can't be entered: {error.strerror}") from error
            os.makedirs(self.scratch, mode=0o700, exist_ok=True)
            os.chdir(self.scratch)

    def find(self, name: str, path: str) -> str:
        """The program's path; execvp's rule, with the task's own PATH. Remembered within one batch."""
        if "/" in name:
            return name
        known = self.paths.get((name, path))
        if known is None:
            for folder in path.split(":"):
                known = os.path.join(folder, name)
                if os.access(known, os.X_OK) and not os.path.isdir(known):
                    break
            else:
                raise NotStarted(127, "no-program", f"there is no program {name} on this executor (PATH is {path})")
            self.paths[name, path] = known
        return known

    def watch(self, item: list[Any], started: int, lo: int) -> None:
        """Until the attempt's own process has ended, keep listening and moving output."""
        now = time.monotonic()
        announce_at = now + QUIET_S
        self.kill_at = 0.0
        deadline = now + item[4] if item[4] else 0.0
        child = os.pidfd_open(self.pid)
        self.poller.register(child, select.POLLIN)
        try:
            while not self.turn(child, announce_at or now + 2, deadline):
                now = time.monotonic()
                if announce_at and now >= announce_at:
                    announce_at = 0.0
                    self.report()
                    self.say(started=[item[0], started, self.pid, self.spool.name, lo])
                if not announce_at:
                    self.spool.flush()
                deadline = self.press(now, deadline)
        finally:
            self.poller.unregister(child)
            os.close(child)

    def turn(self, child: int, wake_at: float, deadline: float) -> bool:
        """Wait for one thing to happen; whether the attempt has ended."""
        now = time.monotonic()
        if self.deaf_until and now >= self.deaf_until:
            self.deaf_until = 0.0
            self.poller.register(self.source, select.POLLIN)
        wakes = [w for w in (wake_at, deadline, self.kill_at, self.deaf_until) if w]
        ready = self.poller.poll(max(0.0, min(wakes) - now) * 1000 + 0.5)
        files = [file for file, _ in ready]
        if self.source in files and self.drain() < 65536:
            self.poller.unregister(self.source)
            self.deaf_until = now + PAUSE_S
        if 0 in files:
            self.listen()
        return (child in files or not ready) and self.reap()

    def press(self, now: float, deadline: float) -> float:
        """Enforce the time limit, then the grace; the deadline that still holds."""
        if deadline and now >= deadline:
            self.end("timeout", GRACE_S)
            deadline = 0.0
        if self.kill_at and now >= self.kill_at:
            self.kill_at = now + 1
            self.signal(signal.SIGKILL)
        return deadline

    def end(self, cause: str, grace: float) -> None:
        self.cause = self.cause or cause
        asked = time.monotonic() + grace
        if not self.kill_at or asked < self.kill_at:
            self.kill_at = asked
        self.signal(signal.SIGTERM if grace else signal.SIGKILL)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.alone:
                os.kill(-1, number)
            else:
                os.killpg(self.pid, number)

    def reap(self) -> bool:
        """Collect the dead, orphans too; whether the attempt's own process was among them."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == self.pid:
                self.status = status
                self.usage = (int((usage.ru_utime + usage.ru_stime) * 1000), usage.ru_maxrss)
                return True
            if pid == 0:
                return False

    def drain(self) -> int:
        """Move what is in the pipe to the spool, one pipe's worth at most; bytes moved."""
        moved = 0
        while moved < PIPE:
            try:
                data = os.read(self.source, PIPE)
            except BlockingIOError:
                break
            self.spool.add(data)
            moved += len(data)
        return moved

    def sweep(self) -> None:
        """Kill whatever is left below this keeper."""
        if self.alone:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(-1, signal.SIGKILL)
                while True:
                    os.waitpid(-1, 0)
            return
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        while children := offspring():
            for pid in children:  # theirs become ours when they die: the next round's
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def tidy(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.listdir(self.scratch):
                empty(self.scratch)


class NotStarted(Exception):
    """The attempt has no process; the text is one sentence for its owner."""

    def __init__(self, code: int, cause: str, text: str) -> None:
        super().__init__(text)
        self.code, self.cause = code, cause


def unstartable(name: str, error: OSError) -> NotStarted:
    if isinstance(error, FileNotFoundError):
        text = f"there is no program {name} on this executor, or the interpreter it names is missing"
        return NotStarted(127, "no-program", text)
    return NotStarted(126, "no-program", f"the program {name} can't be started: {error.strerror}")


def offspring() -> list[int]:
    """Children of this process, adopted orphans too."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def empty(folder: str) -> None:
    """Remove all below `folder`, never following a link; what can't be removed stays."""
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in list(entries):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        empty(entry.path)
                        os.rmdir(entry.path)
                    else:
                        os.unlink(entry.path)


def settle(alone: bool) -> None:
    """Undo what a parent may have done to our priority; without a namespace, adopt orphans and die with the parent."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("0")
    if not alone:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def main(spools: str, slot: str, scratch: str, company: str) -> None:
    alone = company == "alone"
    if alone and os.getpid() != 1:
        sys.exit("not pid 1 of a namespace: kill(-1) would reach others")
    settle(alone)
    os.makedirs(scratch, mode=0o700, exist_ok=True)
    empty(scratch)
    Keeper(Spool(spools, slot), scratch, alone).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
