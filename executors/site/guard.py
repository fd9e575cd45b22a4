"""Where there are no namespaces: a parent of the keeper that gets the orphans of a killed one and ends them.

Standard library and its neighbours only.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys

from executors.site.proc import descendants, myself

PAUSE_S = 0.002
MANY = 2000  # at a time
WATCHED = (signal.SIGTERM, signal.SIGCHLD)
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


def guarded() -> None:
    """Go on in a child of this process, which stays as the guard: whatever ends the child or the guard's own parent,
    nothing of it is left. Both adopt orphans; those of a task come to the child, those of the child to the guard."""
    parent, libc = os.getppid(), ctypes.CDLL(None)
    libc.prctl(SET_CHILD_SUBREAPER, 1)
    libc.prctl(SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    me = os.getpid()
    child = os.fork()
    if child:
        _guard(child, parent)
    libc.prctl(SET_CHILD_SUBREAPER, 1)
    libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    if os.getppid() != me:
        sys.exit("the guard is gone")


def _guard(child: int, parent: int) -> None:
    for file in (0, 1):  # the line is the child's alone
        os.close(file)
    while os.getppid() == parent and not _over(child):
        signal.sigwait(WATCHED)
    end_all_below()
    os._exit(0)


def _over(child: int) -> bool:
    """Whether the keeper has ended; orphans that are dead already are collected."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == child:
            return True
        if not pid:
            return False


def end_all_below() -> None:
    """Stop all, so that none can begin others, then kill and collect all; what belongs to another user stays."""
    me = myself()
    others: set[int] = set()
    while left := set(descendants(me, MANY)) - others:
        held: set[int] = set()
        while fresh := left - held:
            held |= fresh
            others |= refused(fresh, signal.SIGSTOP)
            left = set(descendants(me, MANY)) - others
        refused(held - others, signal.SIGKILL)
        _collect(patient=not others)


def _collect(patient: bool) -> None:
    with contextlib.suppress(ChildProcessError):
        if patient:
            while True:
                os.waitpid(-1, 0)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        select.select([], [], [], PAUSE_S)


def refused(pids: set[int], number: int) -> set[int]:
    """Signal these; those that may not be signalled."""
    found = set()
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            found.add(pid)
    return found
