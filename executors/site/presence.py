"""Whether an owned machine is needed by its owners: a hold file, work of their own, a person at the keyboard.

Standard library only, and cheap: it is asked every few seconds for as long as a machine stands by.
"""

import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from executors.site.logins import Logins

UTMP = struct.Struct("hi32s4s32s256shhiii4i20s")  # see utmp(5)
USER_PROCESS = 7


@dataclass(frozen=True, slots=True)
class House:
    """What its owners want. `hold` is a file: while it is there, nothing is worked. `max_load` is the load average of
    one minute, beside our own work. `idle_s` is how long a person must not have touched anything; None: persons do not
    matter. The others say where the system keeps its books."""

    hold: str = ""
    max_load: float = 0
    idle_s: float | None = None
    utmp: str = "/var/run/utmp"
    devices: str = "/dev"
    logins: Logins = field(default_factory=Logins)

    def needed(self, ours: int) -> str:
        """Why the machine is not free; "" when it is. `ours` is how many slots of it we fill ourselves."""
        if self.hold and os.path.exists(self.hold):
            return f"the hold file {self.hold} is there"
        if self.idle_s is not None and (person := self._person()):
            return f"{person} is at the machine"
        load = os.getloadavg()[0] - ours
        if self.max_load and load > self.max_load:
            return f"it has work of its own (load {load:.1f}, more than {self.max_load:g})"
        return ""

    def _person(self) -> str:
        """Who has touched a keyboard lately: on a desktop, or at a terminal."""
        logged = self.logins.sessions()
        desktops = [session for session in logged if session.desktop]
        known = {line for session in desktops for line in (session.tty, session.display)}
        seen = [(session.user, self.logins.touched(session, desktops)) for session in desktops]
        seen += [
            (session.user, self._touched(session.tty)) for session in logged if not session.desktop and session.tty
        ]
        seen += [(user, self._touched(line)) for user, line in self._sessions() if line not in known]
        return next((user for user, touched in seen if time.time() - touched < (self.idle_s or 0)), "")

    def _touched(self, line: str) -> float:
        """Of a terminal, in seconds since the epoch; one that nobody can see counts as touched."""
        try:
            return (Path(self.devices) / line).stat().st_atime
        except OSError:
            return time.time()

    def _sessions(self) -> list[tuple[str, str]]:
        """(user, line) of who is logged in, as `who` shows it."""
        try:
            data = Path(self.utmp).read_bytes()
        except OSError:
            return []
        found = []
        for start in range(0, len(data) - UTMP.size + 1, UTMP.size):
            kind, pid, line, _id, user, *_rest = UTMP.unpack_from(data, start)
            if kind == USER_PROCESS and pid > 0:
                found.append((_text(user), _text(line)))
        return found


def _text(raw: bytes) -> str:
    text = raw.split(b"\0", 1)[0].decode(errors="replace")
    return "".join(c for c in text if c.isprintable())
