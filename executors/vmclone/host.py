"""A clone as its executor's process has it: started, met, its line handed to who speaks for it."""

import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from executors.errors import Lost
from executors.site.cage import Cage, write
from executors.site.ground import base, of_executor, record
from executors.site.ticket import Ticket
from executors.vmclone.clone import start
from executors.vmclone.template import Template, in_use, opened

ANSWER_S = {"tcg": 30.0, "kvm": 10.0}  # emulated guests answer in half a second, on a host that is not swamped
OVERHEAD_MIB = 160  # of QEMU itself, beside the guest's memory
WORD = b"line"


class Host:
    """One clone at a time per core is on its way: more at once would all be late."""

    def __init__(self, ticket: Ticket, about: Mapping[str, Any]) -> None:
        self._folder = Path(ticket.folder)
        self._place = Path(about["line"])
        self._door = _door(self._place)
        self._held = contextlib.ExitStack()
        template = opened(Path(about["template"]))
        if template is None:
            raise self._lost(f"the template {about['template']} is gone")
        self._template = template
        self._held.enter_context(in_use(template))
        self._window = contextlib.ExitStack()
        self._window.enter_context(_turn(about["window"]))
        cage = _cage(ticket.folder, template)
        self._clone = start(template, ticket.executor, self._folder)
        _confine(cage, self._clone.machine.process.pid)

    def meet(self) -> None:
        """Raises Lost, and leaves it written down."""
        try:
            self._clone.meet(ANSWER_S.get(self._template.shape.accel, 30.0))
        except Lost as error:
            raise self._lost(str(error)) from error
        finally:
            self._window.close()
        threading.Thread(target=self._hand_over, name="door", daemon=True).start()

    def _lost(self, why: str) -> Lost:
        (self._folder / "error").write_text(why)
        return Lost(why)

    def _hand_over(self) -> None:
        """To the first of our own user who asks: from then on the line is theirs, and ends with them."""
        machine = self._clone.machine
        while True:
            with self._door.accept()[0] as caller:
                if _user_of(caller) != os.getuid():
                    continue
                with contextlib.suppress(OSError):
                    socket.send_fds(caller, [WORD + str(machine.process.pid).encode()], [machine.line.fileno()])
                    break
        self._place.unlink(missing_ok=True)
        self._door.close()
        machine.line.close()


def _door(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    os.chmod(path, 0o600)
    door.listen(4)
    return door


def _user_of(caller: socket.socket) -> int:
    told = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    return int.from_bytes(told[4:8], "little")


@contextlib.contextmanager
def _turn(file: str) -> Iterator[None]:
    with open(file, "w") as window:
        fcntl.flock(window, fcntl.LOCK_EX)
        yield


def _cage(folder: str, template: Template) -> Cage:
    """A group for QEMU alone, where groups can be made; the one around it goes with the executor's folder."""
    whole = of_executor(base(), folder)
    record(Path(folder), whole)
    cage = whole.below("clone")
    with contextlib.suppress(OSError):
        whole.offer()
        cage.make()
        cage.limit((template.shape.mib + OVERHEAD_MIB) << 20, 0)
    return cage


def _confine(cage: Cage, pid: int) -> None:
    """It has hardly begun: what it holds by now is nothing."""
    for folder in cage.folders():
        with contextlib.suppress(OSError):
            write(f"{folder}/cgroup.procs", str(pid))
