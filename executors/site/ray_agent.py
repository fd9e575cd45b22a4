"""The agent of an executor as a Ray actor."""

import gc
import os
import select
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from executors.contract import Running
from executors.packed import Events, Works
from executors.site.guests import agent_of
from executors.site.life import met
from executors.site.proc import started_at
from executors.site.raylet import BELL_VARIABLE, FOLDER_VARIABLE, STORE_VARIABLE
from executors.site.rest import Rest

RAYLET_VARIABLE = "RAY_RAYLET_PID"  # Ray tells its workers


class RayAgent:
    """Runs on the executor's own node, whose environment says where its folder and the store are."""

    def __init__(self, executor: str, slots: int) -> None:
        self._raylet = int(os.environ[RAYLET_VARIABLE])
        threading.Thread(target=_end_with, args=(os.pidfd_open(self._raylet),), daemon=True).start()
        self._agent = agent_of(executor, os.environ[FOLDER_VARIABLE], slots, os.environ[STORE_VARIABLE])
        self._executor = executor
        if BELL_VARIABLE in os.environ:  # its raylet may be older than this program
            self._rest = Rest(Path(os.environ[BELL_VARIABLE]))
        gc.freeze()  # Ray and all that is here now stay
        gc.set_threshold(10_000, 20, 20)

    def hello(self) -> int:
        """Answers when it can take work: its process id."""
        met(Path(os.environ[FOLDER_VARIABLE]))
        return os.getpid()

    def submit(self, works: Works) -> None:
        self._agent.submit(works)

    def poll(self, after: int, acknowledged: int, lease_s: float, wait_s: float, gather_s: float = 0) -> Events:
        return self._agent.poll(after, acknowledged, lease_s, wait_s, gather_s)

    def nudge(self) -> None:
        self._agent.nudge()

    def cancel(self, attempts: Sequence[str], grace_s: float) -> None:
        self._agent.cancel(attempts, grace_s)

    def snapshot(self) -> list[Running]:
        return self._agent.snapshot()

    def stop(self, grace_s: float) -> None:
        self._agent.stop(grace_s)

    def processes(self) -> list[dict[str, Any]]:
        pid = self._raylet
        raylet = {"role": "raylet", "pid": pid, "started": started_at(pid), "executor": self._executor, "attempt": ""}
        return [raylet, *self._agent.processes()]


def _end_with(raylet: int) -> None:
    """Ray's workers test the raylet's pid, and live on while nobody reaps it: measured. A pidfd tells at once."""
    select.select([raylet], [], [])
    os._exit(1)
