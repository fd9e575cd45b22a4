"""One running QEMU, be it a template in the making or a clone."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from executors.errors import Lost
from executors.vmclone.frames import Garbled, unpacked
from executors.vmclone.qemu import Parts, Shape, argv

_DIE_WITH_PARENT = (  # for hosts without setpriv; 1 is PR_SET_PDEATHSIG
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9,0,0,0);os.execvp(sys.argv[1],sys.argv[1:])"
)


@dataclass(slots=True)
class Machine:
    """`line` goes to the guest, `control` to QEMU; both are ours to close."""

    process: "subprocess.Popen[bytes]"
    line: socket.socket
    control: socket.socket
    console: Path

    def next_word(self, within_s: float) -> dict[str, object]:
        """What the guest says next. Raises Lost when it says nothing in time, or nonsense."""
        self.line.settimeout(within_s)
        try:
            word, _ = unpacked(self.line.recv)
        except TimeoutError as error:
            raise Lost(f"the guest said nothing within {within_s:g} s{self._last_words()}") from error
        except (Garbled, OSError) as error:
            raise Lost(f"the guest has ended: {error}{self._last_words()}") from error
        self.line.settimeout(None)
        if not isinstance(word, dict):
            raise Lost("the guest said what no guest says")
        return word

    def _last_words(self) -> str:
        """The end of what QEMU and the guest's console said."""
        text = ""
        for file in (self.console.with_name("qemu.log"), self.console):
            try:
                text += file.read_text(errors="replace")[-600:]
            except OSError:
                continue
        return f"; last words: {' | '.join(text.split(chr(10))).strip(' |')}" if text.strip() else ""

    def end(self) -> None:
        """Repeating it is fine."""
        self.process.kill()
        self.process.wait()
        self.line.close()
        self.control.close()


def launch(
    shape: Shape,
    folder: Path,
    *,
    memory: Path,
    private: bool,
    disk: Path,
    boot: tuple[Path, Path],
    more: Sequence[str] = (),
    keep: Sequence[int] = (),
    said: tuple[bytes, bytes] = (b"", b""),
) -> Machine:
    """Start QEMU with `said` waiting for it: first what its control hears, then what the guest does. It dies with the
    calling thread, and writes qemu.log and console.log into `folder`."""
    control, theirs = socket.socketpair()
    line, its = socket.socketpair()
    control.sendall(said[0])
    line.sendall(said[1])
    parts = Parts(memory, private, disk, *boot, folder / "console.log", theirs.fileno(), its.fileno())
    try:
        with open(folder / "qemu.log", "ab") as log:
            process = subprocess.Popen(
                [*_dying_with_parent(), *argv(shape, parts), *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(), its.fileno(), *keep),
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            )
    finally:
        theirs.close()
        its.close()
    return Machine(process, line, control, parts.console)


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else [sys.executable, "-ISE", "-c", _DIE_WITH_PARENT]
