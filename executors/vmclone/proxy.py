"""The agent of a clone on its host: passes works in and events out, and believes nothing that comes from inside."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from executors.contract import Event, Running
from executors.errors import Lost
from executors.packed import Events, Works
from executors.site.agent import Lease
from executors.site.proc import started_at
from executors.store import FolderStore
from executors.vmclone.far_store import Counter
from executors.vmclone.frames import Garbled
from executors.vmclone.honest import TIME, attempt, honest, text, whole
from executors.vmclone.host import WORD
from executors.vmclone.peer import Gone, Peer

COME_S = 28.0  # from an executor's start to the first word of its guest; a site waits a little longer
CALL_S = 6.0  # a guest that is mute for longer is replaced
GUEST_ENDED = 70  # EX_SOFTWARE of sysexits.h
MOST_PID = 1 << 22
STATES = ("waiting", "running", "finished")


class Proxy:
    """Does what executors.site.agent.Agent does. It ends with the guest, which a site sees at once."""

    def __init__(
        self,
        executor: str,
        folder: str,
        store: str,
        about: Mapping[str, Any],
        ended: Callable[[], None] = lambda: os._exit(GUEST_ENDED),
    ) -> None:
        self._executor, self._folder, self._ended = executor, Path(folder), ended
        self._began = time.time_ns()
        self._lease = Lease(self._folder / "lease")
        line, self._clone = _line(about["line"])
        self._counter = Counter(FolderStore(store))
        self._peer = Peer(line, self._counter.methods())
        threading.Thread(target=self._serve, name="guest", daemon=True).start()
        self._ask("clock", time.time_ns())

    def _serve(self) -> None:
        self._peer.serve()
        self._counter.drop()
        self._ended()

    def _ask(self, method: str, *args: Any, more_s: float = 0) -> Any:
        return self._peer.call(method, *args, within_s=CALL_S + more_s)[0]

    def submit(self, works: Works | Sequence[Any]) -> None:
        packed = Works.of(works)
        self._peer.call("submit", len(packed), data=packed.data, within_s=CALL_S)

    def poll(self, after: int, acknowledged: int, lease_s: float, wait_s: float, gather_s: float = 0) -> Events:
        if lease_s > 0:
            self._lease.renew(lease_s)
        about = (after, acknowledged, wait_s, gather_s)
        (first, last, lines), data = self._peer.call("poll", *about, within_s=CALL_S + wait_s + gather_s)
        return self._sound(Events(first, last, data[:lines], data[lines:]))

    def _sound(self, events: Events) -> Events:
        """Only what an honest agent could say goes on to the farm. Raises Garbled."""
        try:
            found = list(events)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Garbled(f"the guest's events are none: {error}") from error
        if len(found) != len(events) or not all(map(self._plausible, found)):
            raise Garbled("the guest says what no agent says")
        return events

    def _plausible(self, event: Event) -> bool:
        return honest(event) and all(o.digest in self._counter.known for o in event.outputs)

    def nudge(self) -> None:
        with contextlib.suppress(Gone):
            self._ask("nudge")

    def cancel(self, attempts: Sequence[str], grace_s: float) -> None:
        self._ask("cancel", list(attempts), grace_s)

    def snapshot(self) -> list[Running]:
        found = [Running(self._executor, str(a), int(t), str(s)) for a, t, s in self._ask("snapshot")]
        return [r for r in found if r.state in STATES and attempt(r.attempt) and whole(r.token, 0, TIME)]

    def stop(self, grace_s: float) -> None:
        self._ask("stop", grace_s, more_s=grace_s)

    def processes(self) -> list[dict[str, Any]]:
        """On the host: executor, agent and clone. What is inside has the clone's pid, and its own as `inside`."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = int(json.loads((self._folder / "machine.json").read_text())["pid"])
            return [self._process("executor", pid), *self._here()]
        return self._here()

    def _here(self) -> list[dict[str, Any]]:
        clone = self._process("clone", self._clone)
        inside = [clone | told for told in map(_told, self._ask("processes")) if told]
        return [self._process("agent", os.getpid()), clone, *inside]

    def _process(self, role: str, pid: int) -> dict[str, Any]:
        return {"role": role, "pid": pid, "started": started_at(pid), "executor": self._executor, "attempt": ""}


def _told(one: Mapping[str, Any]) -> dict[str, Any]:
    """Empty when the farm would not show it."""
    name, pid, command = one["attempt"], one["inside"], one["command"]
    if not (name == "" or attempt(name)) or not whole(pid, 0, MOST_PID) or not text(command):
        return {}
    role = "keeper" if one["role"] == "keeper" else "task"
    return {"role": role, "attempt": name, "inside": pid, "command": command[:4096]}


def _line(path: str) -> tuple[int, int]:
    """The line to the guest, and the pid of its QEMU, from the executor's process. Raises Lost."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(COME_S)
        try:
            door.connect(path)
            word, (line,), _, _ = socket.recv_fds(door, 64, 1)
        except (OSError, ValueError) as error:
            raise Lost(f"the clone did not come: {error}") from error
    os.set_inheritable(line, False)
    os.set_blocking(line, True)
    return line, int(word.removeprefix(WORD))
