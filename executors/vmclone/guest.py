"""The farm's program inside a guest: an ordinary agent and its keepers, spoken to over the serial line.

In the template it warms up and waits for its first word; each clone wakes from that wait with a word of its own.
"""

import ctypes
import os
import select
import sys
import time
from collections.abc import Mapping
from typing import Any

from executors.contract import PYTHON, Work
from executors.packed import Works
from executors.site.agent import Agent
from executors.vmclone.facts import facts, settle
from executors.vmclone.far_store import FarStore
from executors.vmclone.frames import packed, unpacked
from executors.vmclone.identity import Identity, assume, drawn, only_in_guest, reseed_libraries, set_clock
from executors.vmclone.inside import processes
from executors.vmclone.peer import Peer, Serve, plainly

FOLDER, TRIAL, STORE = "/var/lib/farm/executor", "/run/farm-trial", "/var/lib/farm/store"
WARM = "import hashlib, json, os, random, socket, sqlite3, ssl, subprocess, tempfile, threading, zipfile, zlib"
WARM_S = 600.0
POWER_OFF = 0x4321FEDC  # reboot(2)


class Guest:
    """The agent in the making: `peer` is there once this is a clone."""

    def __init__(self, line: int) -> None:
        self._line = line
        self.peer: Peer | None = None

    def run(self) -> None:
        order, _ = unpacked(self._patiently)
        self._say({"up": time.monotonic_ns()})
        store = FarStore(STORE, self._there)
        _try_out(order["slots"], order["warm"], store)
        self.agent = Agent("template", FOLDER, order["slots"], store)
        settle()
        reseed_libraries()  # imports what it needs
        drawn()
        os.sync()
        self._say({"warm": facts()})
        self._become(Identity(**unpacked(self._patiently)[0]))

    def _become(self, identity: Identity) -> None:
        """From here on this is a clone."""
        assume(identity)
        self.agent.executor = identity.executor
        self.peer = Peer(self._line, methods(self.agent))
        self._say({"hello": identity.nonce})
        self.peer.serve()

    def _there(self) -> Peer:
        if self.peer is None:
            raise OSError("a template has no farm")
        return self.peer

    def _say(self, word: Any) -> None:
        rest = packed(word)
        while rest:
            rest = rest[os.write(self._line, rest) :]

    def _patiently(self, size: int) -> bytes:
        """Until something comes: while a state is loaded the host looks as if it were away."""
        while not (data := os.read(self._line, size)):
            select.select([], [], [], 0.02)
        return data


def _try_out(slots: int, warm: str, store: FarStore) -> None:
    """Work once with everything that works will need, so that clones find it in memory. Raises RuntimeError."""
    agent = Agent("template", TRIAL, slots, store)
    scripts = [("sh", "-c", "ls -A / >/dev/null"), (PYTHON, "-c", WARM), *([("sh", "-ec", warm)] if warm else [])]
    works = [
        Work(f"0.{n}.{slot}", 1, 1, argv, outputs=(), cwd="warm")
        for n, argv in enumerate(scripts)
        for slot in range(slots)
    ]
    agent.submit(works)
    ended, last, said, until = 0, 0, b"", time.monotonic() + WARM_S
    while ended < len(works):
        left = until - time.monotonic()
        if left <= 0:
            raise RuntimeError(f"the warming has not ended within {WARM_S:g} s")
        events = agent.poll(last, last, 0, left)  # none, when it was nudged
        for event in events:
            ended += event.kind == "finished"
            said += event.data
            if event.exit or event.cause:
                raise RuntimeError(f"{works[0].argv}: {event.cause} exit {event.exit} {event.message} {said[-2000:]!r}")
        last = events.last if events else last
    agent.stop(1)
    agent.close()


def methods(agent: Agent) -> Mapping[str, Serve]:
    """What the host may call."""
    return {
        "submit": lambda args, data: plainly(agent.submit)([Works(data, args[0])], b""),
        "poll": lambda args, _: _polled(agent, *args),
        "nudge": plainly(agent.nudge),
        "cancel": plainly(agent.cancel),
        "snapshot": lambda _args, _: ([[r.attempt, r.token, r.state] for r in agent.snapshot()], b""),
        "stop": plainly(agent.stop),
        "clock": plainly(set_clock),
        "processes": lambda _args, _: (processes(agent), b""),
        "drawn": plainly(drawn),
        "facts": plainly(facts),
    }


def _polled(agent: Agent, *about: float) -> tuple[list[int], bytes]:
    after, acknowledged, wait_s, gather_s = about
    events = agent.poll(int(after), int(acknowledged), 0, wait_s, gather_s)
    return [events.first, events.last, len(events.lines)], events.lines + events.data


def main(line: int) -> None:
    """The first process collects orphans and ends the machine with the guest, its child. Raises NoGuest."""
    only_in_guest()
    child = os.fork()
    if not child:
        _live(line)
    while os.wait()[0] != child:
        pass
    ctypes.CDLL(None).reboot(POWER_OFF)


def _live(line: int) -> None:
    try:
        Guest(line).run()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)  # the console shows it
    finally:
        sys.stderr.flush()
        os._exit(1)
