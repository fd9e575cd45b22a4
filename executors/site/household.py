"""What an executor elsewhere has around it: its own gateway, and with Ray its own head. All are children of one thread,
the executor's first: they die with it."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from executors.site import nursery
from executors.site.life import Life
from executors.site.raylet import dying_with_parent, environment, ray_folder
from executors.site.ticket import Ticket

Child = subprocess.Popen[bytes]
LOOK_S = 0.02  # while the recipe of the head is awaited: files have no event of their own in the library
PAUSE_S = 1.0  # between two starts of a gateway that keeps dying
NAP_S = 1.0  # so often it is looked whether a gateway may be started again
LEAVE_S = 12.0  # for the gateway to end what runs and to tell the farm


class Household:
    """Lives until the work's own process ends, or its life. Call `leave` in any case."""

    def __init__(self, ticket: Ticket, start: Callable[[Ticket], Child], life: Life) -> None:
        self._ticket, self._start, self._life = ticket, start, life
        self._child: Child | None = None
        self._gateway: Child | None = None
        self._again = 0.0
        self._line: socket.socket | None = None
        self._outlived = False

    def live(self) -> None:
        """Block until it is over."""
        while (left := self._life.left_s()) > 0:
            self._keep_gateway()
            if self._child is None and self._has_recipe():
                self._child = self._start(self._ticket)
            self._wait(min(left, NAP_S if self._child else LOOK_S))
            if self._child is not None and self._child.poll() is not None:
                return
        self._outlived = True

    def _has_recipe(self) -> bool:
        return self._ticket.engine != "ray" or (ray_folder(self._ticket.run) / "raylet.json").exists()

    def _wait(self, seconds: float) -> None:
        """For an end, or for a wish of the gateway's."""
        living = [c for c in (self._child, self._gateway) if c is not None]
        ends = [os.pidfd_open(c.pid) for c in living if c.poll() is None]
        line = [self._line.fileno()] if self._line is not None else []
        try:
            found = select.select([*ends, *line], [], [], seconds)[0]
        finally:
            for end in ends:
                os.close(end)
        if self._line is not None and self._line.fileno() in found:
            self._spawn(self._line)

    def _spawn(self, line: socket.socket) -> None:
        try:
            nursery.serve(line)
        except OSError:
            line.close()
            self._line = None

    def _keep_gateway(self) -> None:
        """Start it, and again when it has died: work lives on meanwhile."""
        now = time.monotonic()
        if (self._gateway is not None and self._gateway.poll() is None) or now < self._again:
            return
        self._again = now + PAUSE_S
        if self._line is not None:
            self._line.close()
        self._line, theirs = socket.socketpair()
        self._line.settimeout(nursery.ANSWER_S)
        with theirs, open(Path(self._ticket.folder) / "gateway.log", "ab") as log:
            self._gateway = subprocess.Popen(
                [*dying_with_parent(), *self._words()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment({}) | nursery.variable(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def _words(self) -> list[str]:
        t = self._ticket
        options = {"run": t.run, "farm": t.farm, "site": t.executor, "reach": t.reach, "engine": t.engine}
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [sys.executable, "-P", "-m", "executors.site.gateway", *words]

    def leave(self) -> Child | None:
        """Have the farm told how all of it ended, unless it is out of reach; the work's own process, to be ended."""
        gateway = self._gateway
        if gateway is not None and not self._outlived:
            gateway.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                gateway.wait(LEAVE_S)
        if gateway is not None:
            gateway.kill()
            gateway.wait()
        if self._line is not None:
            self._line.close()
        return self._child
