"""Pushes to a repository here, told to a farm elsewhere with their sources: from the spool that its hook fills."""

import fcntl
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm.changes import Repository, is_nothing
from farm.cli.trees import send_tree
from farm.client import Client, connect
from farm.hooks import ASK, LOGIN, SPOOL, GitEvent, done, put_aside, read_folder
from farm.login import read_login
from farm.patience import Patience, following_s
from farm.refusal import Refusal, Unavailable
from farm.workloads.packages.source import GitTree

HOOK_S = 3600.0  # for so long a farm that is away is tried in the background
LARGEST_LOG = 1 << 20
_TIME_IS_UP = 124  # as of timeout(1)
Say = Callable[[str], None]


def send_spooled(folder: Path, patience_s: float, say: Say) -> list[dict[str, Any]]:
    """Send what is spooled there, the oldest first; the farm's answers. Who is at it already takes ours as well.

    Raises Refusal when the farm does not answer, or does not take our token: then all stays for the next time.
    """
    answers: list[dict[str, Any]] = []
    while read_folder(folder / SPOOL):
        with (folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return answers  # it looks again once it has let go of the lock
            answers += _send_all(folder, Patience(patience_s, say), say)
    return answers


def _send_all(folder: Path, patience: Patience, say: Say) -> list[dict[str, Any]]:
    login = read_login(folder / LOGIN)
    if login is None:
        remedy = "type `farm hook install REPOSITORY --url URL` again"
        raise Unavailable("it is not known which farm is to be told", str(folder / LOGIN), remedy)
    answers = []
    with patience.endure(lambda: connect(login)) as client:
        client.bear(patience)
        while events := read_folder(folder / SPOOL):
            ask = (folder / ASK).exists()
            answers += [answer for event in events if (answer := _try(client, event, ask, say)) is not None]
    return answers


def _try(client: Client, event: GitEvent, ask: bool, say: Say) -> dict[str, Any] | None:
    """None when the farm, or git, does not want this one."""
    try:
        answer = _send(client, event, ask)
    except Refusal as refusal:
        if refusal.status in (401, 403) or refusal.status >= 500:
            raise
        say(f"{event.ref} of {event.repository}: {refusal}")
        if event.spooled:
            put_aside(event.spooled)
        return None
    done(event)
    return answer


def _send(client: Client, event: GitEvent, ask: bool) -> dict[str, Any]:
    name = f"{socket.gethostname()}:{event.repository}"[-200:]
    told = {"repository": name, "ref": event.ref, "old": event.old, "new": event.new}
    if not is_nothing(event.new):
        repository = Repository(event.repository)
        tree = GitTree(repository, repository.commit(event.new))
        told |= {"new": tree.commit, "tree": send_tree(client, tree, tree.title, tree.commit, ask=ask)}
    answer: dict[str, Any] = client.submit("/v1/events/sent", told | {"tip": event.commit(event.ref)})
    return answer


# ── Beside a push ────────────────────────────────────────────────────────────────────────────────


def send_beside(folder: Path, wait_s: float) -> int:
    """Send in a process of its own, and show for so long what comes of it; the exit status, 124 when it goes on."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(ours)
        _detached(folder, theirs)
    os.close(theirs)
    heard, end = b"", time.monotonic() + wait_s
    while select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
        data = os.read(ours, 65536)
        if not data:
            break
        heard += data
    else:
        return _TIME_IS_UP
    text, _, status = heard.rpartition(b"\0")
    sys.stdout.write(text.decode(errors="replace"))
    return int(status or 3)


def _detached(folder: Path, pipe: int) -> None:
    """Does not return. Nothing of the push's is held: git waits for whoever holds its pipes."""
    status = 3
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        status = _noted(folder, lambda text: _both(folder, pipe, text))
    finally:
        os.write(pipe, b"\0%d" % status)
        os._exit(0)


def _noted(folder: Path, say: Say) -> int:
    from farm.cli.hook import told

    try:
        for answer in send_spooled(folder, following_s(HOOK_S), say):
            say(told(answer))
    except Refusal as refusal:
        say(str(refusal))
        return 3
    except Exception as error:
        say(f"something unexpected happened: {type(error).__name__}: {error}")
        return 3
    return 0


def _both(folder: Path, pipe: int, text: str) -> None:
    log = folder / "log"
    try:
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(folder / "log.before")
        with log.open("a") as file:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=file)
        os.write(pipe, text.encode() + b"\n")
    except OSError:
        pass  # a full disk, or the push has gone home
