"""Who is logged in by the books of systemd-logind: it knows of desktops, which write no terminal and often no utmp.

Standard library only, and cheap: its folder is read every few seconds, its program asked only where there is a desktop.
"""

import os
import stat
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

ASK_S = 10.0  # so long an answer of the program is good for
ANSWER_S = 5.0
MOST = 1 << 16  # bytes of one session's file
DESKTOPS = ("x11", "wayland", "mir")


@dataclass(frozen=True, slots=True)
class Session:
    """`tty` and `display` are as in utmp; "" where there is none."""

    number: str
    user: str
    tty: str
    display: str
    desktop: bool


@dataclass(slots=True)
class Logins:
    """`folder` holds a file for each session, sessions(5) of logind; `program` is loginctl(1)."""

    folder: str = "/run/systemd/sessions"
    program: str = "loginctl"
    _asked: float = field(default=-ASK_S, init=False)
    _about: tuple[str, ...] = field(default=(), init=False)
    _idle: dict[str, float] = field(default_factory=dict, init=False)

    def sessions(self) -> list[Session]:
        """Those of people, none that is closing; nothing where there is no logind."""
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return []
        told = {name: _facts(Path(self.folder, name)) for name in names}
        return [_session(name, facts) for name, facts in told.items() if _counts(facts)]

    def touched(self, session: Session, desktops: list[Session]) -> float:
        """When somebody was seen there last, as far as its desktop tells, in seconds since the epoch: now where it is
        not idle, and where nobody can say."""
        about = tuple(one.number for one in desktops)
        if about != self._about or time.monotonic() - self._asked > ASK_S:
            self._about, self._idle, self._asked = about, self._ask(about), time.monotonic()
        return self._idle.get(session.number, time.time())

    def _ask(self, numbers: tuple[str, ...]) -> dict[str, float]:
        """Session → since when it is idle."""
        words = [self.program, "show-session", "-p", "Id", "-p", "IdleHint", "-p", "IdleSinceHint", *numbers]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S)
        except (OSError, subprocess.TimeoutExpired):
            return {}
        blocks = [_pairs(block) for block in done.stdout.decode(errors="replace").split("\n\n")]
        idle = [b for b in blocks if b.get("IdleHint") == "yes" and b.get("IdleSinceHint", "").isdecimal()]
        return {block.get("Id", ""): int(block["IdleSinceHint"]) / 1e6 for block in idle}


def _facts(file: Path) -> dict[str, str]:
    """Beside the sessions there are pipes, which nobody must open."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return {}
        with open(file, errors="replace") as text:
            return _pairs(text.read(MOST))
    except OSError:
        return {}


def _pairs(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def _counts(facts: dict[str, str]) -> bool:
    return facts.get("CLASS", "").startswith("user") and facts.get("STATE") in ("active", "online")


def _session(number: str, facts: dict[str, str]) -> Session:
    user = "".join(c for c in facts.get("USER", "") if c.isprintable()) or f"user {facts.get('UID', '?')}"
    desktop = facts.get("TYPE") in DESKTOPS
    return Session(number, user, facts.get("TTY", ""), facts.get("DISPLAY", ""), desktop)
