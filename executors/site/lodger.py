"""The executor on an owned machine: got ready, started, asked to go, found again after a restart of who stands by."""

import contextlib
import hashlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from executors.invitation import Invitation
from executors.site.note import write_note
from executors.site.place import sweep
from executors.site.process import Process
from executors.site.ticket import PRIVATE

GO_S = 30.0  # after it was asked to go: it ends its tasks and tells the farm


class Lodger:
    """At most one. Everything of it is below `folder`, which is its owner's alone. For several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._note = folder, folder / "running.json"
        self._child: subprocess.Popen[bytes] | None = None
        self._going = ""
        self._turn = threading.RLock()  # who starts it and who looks whether it has ended are two
        self._name, self._slots, self._process = _noted(self._note)

    @property
    def running(self) -> str:
        """The executor that lives here now."""
        with self._turn:
            return self._name if self._process and self._process.alive() else ""

    @property
    def slots(self) -> int:
        with self._turn:
            return self._slots if self.running else 0

    def start(self, invitation: Invitation) -> None:
        """Raises OSError."""
        with self._turn:
            self._start(invitation)

    def _start(self, invitation: Invitation) -> None:
        kit = self._kit(invitation)
        write_note(kit / "boot.py", _boot())
        write_note(kit / "ticket.json", invitation.text())
        argv = [sys.executable, "-I", str(kit / "boot.py"), str(kit / "ticket.json"), _ray()]
        with open(self._folder / "executor.log", "wb") as log:
            self._child = subprocess.Popen(
                argv, cwd=kit, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, PRIVATE: str(self._folder / "token")},
            )  # fmt: skip
        self._process = Process.of(self._child.pid)
        self._slots, self._going = invitation.slots, ""
        self._name = invitation.executor
        note = {"executor": self._name, "slots": self._slots, "pid": self._child.pid, "started": self._process.started}
        write_note(self._note, json.dumps(note))

    def _kit(self, invitation: Invitation) -> Path:
        """What a setup script has made is kept for the next time, and for as long as the script is the same."""
        kit = self._folder / ("kit-" + hashlib.sha256(invitation.setup.encode()).hexdigest()[:8])
        kit.mkdir(exist_ok=True, mode=0o700)
        return kit

    def ask(self, why: str) -> None:
        """It shall go; it has some seconds."""
        if not self._going and self._process:
            self._process.signal(signal.SIGTERM)
            self._going = why

    def kill(self) -> None:
        """It did not go. What it started dies with it."""
        if self._process:
            self._process.signal(signal.SIGKILL)

    def leave(self) -> None:
        """Until it has gone; for who was asked to."""
        if not self.wait(GO_S):
            self.kill()
            self.wait(GO_S)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        return self._process is None or self._process.wait(timeout_s)

    def ended(self) -> tuple[str, str]:
        """(executor, what was wrong with it) of one that has ended, told once; else ("", "")."""
        with self._turn:
            return self._ended()

    def _ended(self) -> tuple[str, str]:
        if not self._name or self.running:
            return "", ""
        status = self._child.wait() if self._child else 0
        self._sweep()
        wrong = self._going or (self._last_words() if status else "")
        name, self._name, self._child, self._process = self._name, "", None, None
        self._note.unlink(missing_ok=True)
        return name, wrong

    def _sweep(self) -> None:
        """What its getting ready has left, and an executor that was killed: one that goes leaves nothing."""
        if self._child:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            sweep()

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "executor.log").read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1][:500]
        return "it ended without a word"


def _noted(file: Path) -> tuple[str, int, Process | None]:
    try:
        found = json.loads(file.read_text())
        return str(found["executor"]), int(found["slots"]), Process(int(found["pid"]), int(found["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0, None


def _boot() -> str:
    """The program that makes a machine ready, also out of a zip."""
    data = pkgutil.get_data("executors", "boot.py")
    assert data is not None
    return data.decode()


def _ray() -> str:
    from executors.bootstrap import RAY

    return RAY
