"""The process of an executor: starts what runs the work, outlives it by a moment, takes everything with it.

    python -P -m executors.site.executor --ticket FILE

Standard library only. Ends when its child ends, on SIGTERM, or when the farm has not been heard of for a lease.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from executors.site.ground import forget
from executors.site.guard import refused
from executors.site.guests import guest_of
from executors.site.household import Household
from executors.site.life import Life
from executors.site.process import Process
from executors.site.ticket import Ticket

END_S = 3.0
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


class Asked(Exception):
    """Somebody wants this executor to end."""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="farm executor")
    parser.add_argument("--ticket", required=True, help="file that says who this executor is")
    ticket = Ticket.read(parser.parse_args(words).ticket)
    folder = Path(ticket.folder)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # the same executor runs already
        serve(ticket, folder)
    return 0


def serve(ticket: Ticket, folder: Path) -> None:
    """From the first mark on the disk to the last."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _ask)
    life = Life(folder, ticket.lease_s)
    _sign(folder / "machine.json")
    house = None
    child = None
    try:
        if ticket.reach:
            house = Household(ticket, _start, life)
            house.live()
        else:
            child = _start(ticket)
            _watch(child, life)
    except Asked:
        pass
    finally:
        _deafen()
        _end(house.leave() if house else child)
        forget(folder)
        (folder / "ended").write_text(str(time.time_ns()))
        for left in ticket.leave:
            shutil.rmtree(left, ignore_errors=True)


def _ask(_number: int, _frame: Any) -> None:
    _deafen()
    raise Asked


def _deafen() -> None:
    """A second signal must not interrupt the ending."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


def _sign(file: Path) -> None:
    me = Process.of(os.getpid())
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": me.pid, "started": me.started, "at": time.time_ns()}))
    fresh.replace(file)


def _start(ticket: Ticket) -> "subprocess.Popen[bytes]":
    """Called in the main thread: what it starts dies with that thread. A guest comes up beside what speaks for it."""
    guest = guest_of(ticket)
    child = _start_work(ticket)
    if guest is not None:
        guest.meet()
    return child


def _start_work(ticket: Ticket) -> "subprocess.Popen[bytes]":
    if ticket.engine == "ray":
        from executors.site.raylet import start_raylet

        return start_raylet(ticket.run, ticket.executor, ticket.slots, ticket.folder, store=ticket.store)
    module = "executors.site.agent_server"
    with open(Path(ticket.folder) / "agent.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, "--ticket", str(Path(ticket.folder) / "ticket.json")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _watch(child: "subprocess.Popen[bytes]", life: Life) -> None:
    """Block until the child has ended or its life is over."""
    descriptor = os.pidfd_open(child.pid)
    try:
        while (left := life.left_s()) > 0:
            if select.select([descriptor], [], [], min(left, life.lease_s))[0]:
                return
    finally:
        os.close(descriptor)


def _end(child: "subprocess.Popen[bytes] | None") -> None:
    """Leave nothing below: the child gets a moment, the orphans we have adopted get none."""
    if child is not None:
        child.terminate()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
    others: set[int] = set()  # what belongs to another user stays
    while children := _children() - others:
        others |= refused(children, signal.SIGKILL)
        if children - others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return {int(pid) for pid in file.read().split()}


if __name__ == "__main__":
    sys.exit(main())
