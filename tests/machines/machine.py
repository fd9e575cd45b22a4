"""One machine: its own root, processes, names and network; behind the router."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from executors.site.process import Process, sign
from tests.machines.cable import Cable

HERE = Path(__file__).parent
PLACE, PREFIX, OWNER = Path("/var/tmp"), "farm-machine-", "owner"
POWER = ("poweroff", "halt", "reboot", "shutdown", "systemctl")
LIMITS = {"memory.limit_in_bytes": "3G", "memory.max": "3G", "pids.max": "3000"}  # a hostile task ends here

_HOSTS = "sys_time sys_module mknod sys_rawio syslog wake_alarm mac_admin audit_control bpf perfmon"
CAPABILITIES = "-" + _HOSTS.replace(" ", ",-")
"""What not even root has in a machine: the clock, the modules and the devices are the host's."""


def sweep() -> None:
    """Take away the disks of machines whose test process was killed; its guardians have seen to the rest."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        try:
            pid, started = (folder / OWNER).read_text().split()
        except (OSError, ValueError):
            continue
        if not Process(int(pid), int(started)).alive():
            shutil.rmtree(folder, ignore_errors=True)


class Machine:
    """Off at first. What is on its disk survives `power_off` and `kill`, and is gone after `close`."""

    def __init__(self, name: str, layers: Sequence[Path], cable: Cable, hosts: Mapping[str, str]) -> None:
        self.name, self.cable = name, cable
        self._layers, self._hosts = layers, dict(hosts)
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
        for part in ("root", "disk", "work"):
            (self._folder / part).mkdir(mode=0o755)
        sign(self._folder / OWNER)
        self.console_file = self._folder / "console"
        self.console_file.touch()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lay_out()

    def _lay_out(self) -> None:
        """What the bench itself needs in there."""
        self.put("/usr/lib/machine/init", (HERE / "init.py").read_text())
        power = self.put("/usr/lib/machine/power", (HERE / "power.py").read_text(), mode=0o755)
        (self._disk("/usr/sbin")).mkdir(parents=True, exist_ok=True)
        for name in POWER:
            (self._disk("/usr/sbin") / name).symlink_to("/usr/lib/machine/power")
        assert power

    @property
    def group(self) -> str:
        """The name of its control groups."""
        return self._folder.name

    # ── its life ──

    def boot(self, user_data: str = "") -> None:
        """Power on: `user_data` is run as a child of its first process. Returns when that runs; see `script`."""
        if self.alive:
            raise OSError(f"{self.name} is on already")
        self._disk("/var/lib/machine/user-data").unlink(missing_ok=True)
        if user_data:
            self.put("/var/lib/machine/user-data", user_data, mode=0o700)
        self._guardian = subprocess.Popen(
            [sys.executable, "-IS", str(HERE / "guardian.py"), json.dumps(self._spec())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is not for it: it cleans up afterwards
        )
        assert self._guardian.stdout is not None
        self._unshared = int(self._guardian.stdout.readline())
        await_that(self._is_up, 60, lambda: f"{self.name} did not come up:\n{self.console}")

    def _spec(self) -> dict[str, Any]:
        root = {"ROOT": self._folder / "root", "UPPER": self._folder / "disk", "WORK": self._folder / "work"}
        env = {
            **{name: str(path) for name, path in root.items()},
            "LAYERS": ":".join(str(layer) for layer in reversed(self._layers)),
            "NAME": self.name,
            "CAPABILITIES": CAPABILITIES,
            "HOSTS": self._hosts_text(),
        }
        return {
            "group": self.group,
            "limits": LIMITS,
            "net": self.cable.machine.path,
            "boot": str(HERE / "boot.sh"),
            "console": str(self.console_file),
            "env": env,
        }

    def _is_up(self) -> bool:
        if not self.alive:
            raise OSError(f"{self.name} did not come up:\n{self.console}")
        with contextlib.suppress(OSError):
            return (self.path("/run/machine/up")).exists()
        return False

    def power_off(self, timeout_s: float = 30) -> None:
        """The power button: everything in it is asked to end, and has five seconds."""
        if self.alive:
            self.freeze(False)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, 15)
            self.ended(timeout_s)

    def kill(self) -> None:
        """The power fails. Fine when it is off."""
        if self._guardian:
            self._guardian.communicate(timeout=60)  # ends its standard input: the cord
            self._guardian = None

    def ended(self, timeout_s: float) -> None:
        """Wait until it has powered itself off. Raises OSError when it has not."""
        await_that(lambda: not self.alive, timeout_s, lambda: f"{self.name} is still on:\n{self.console}")
        self.kill()

    def close(self) -> None:
        """Take it away, its disk and its cable too. Repeating it is fine."""
        self.kill()
        self.cable.close()
        if self._folder.exists():
            shutil.rmtree(self._folder)

    # ── faults ──

    def cut(self) -> None:
        """Packets vanish; nobody is told."""
        self.cable.cut()

    def restore(self) -> None:
        self.cable.restore()

    def slow(self, *, kbit: int = 0, delay_ms: float = 0, loss: float = 0) -> None:
        """From now on; `slow()` is a good connection again."""
        self.cable.slow(kbit=kbit, delay_ms=delay_ms, loss=loss)

    def freeze(self, frozen: bool = True) -> None:
        """As a virtual machine that is paused; `freeze(False)` thaws it."""
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        try:
            self._guardian.stdin.write(b"freeze\n" if frozen else b"thaw\n")
            self._guardian.stdin.flush()
            self._guardian.stdout.readline()
        except BrokenPipeError:  # it has just ended
            pass

    def name_host(self, name: str, address: str) -> None:
        """As when a name's address changes in DNS."""
        self._hosts[name] = address
        if self.alive:
            old = [line for line in self.read("/etc/hosts").splitlines() if line.split()[1:] != [name]]
            self.path("/etc/hosts").write_text("\n".join([*old, f"{address} {name}"]) + "\n")

    def _hosts_text(self) -> str:
        return "\n".join(f"{address} {name}" for name, address in self._hosts.items())

    # ── looking and touching ──

    @property
    def alive(self) -> bool:
        return self._guardian is not None and self._guardian.poll() is None

    @property
    def address(self) -> str:
        """As its own network knows it; nobody else does."""
        return self.cable.address

    @property
    def console(self) -> str:
        """All that was written on it, of all boots."""
        return self.console_file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its first process, as the host counts. Raises ProcessLookupError when it is off."""
        try:
            children = Path(f"/proc/{self._unshared}/task/{self._unshared}/children").read_text().split()
        except (OSError, AttributeError) as error:
            raise ProcessLookupError(f"{self.name} is off") from error
        if not children:
            raise ProcessLookupError(f"{self.name} is off")
        return int(children[0])

    def script(self, timeout_s: float) -> int:
        """Wait for the end of the user data; its exit status."""
        await_that(
            lambda: not self.alive or self.path("/run/machine/ended").exists(),
            timeout_s,
            lambda: f"the user data of {self.name} goes on:\n{self.console}",
        )
        if not self.alive:
            raise OSError(f"{self.name} went off:\n{self.console}")
        return int(self.read("/run/machine/ended"))

    def path(self, inside: str) -> Path:
        """A file of the running machine, for reading and writing from outside. Absolute links in it lead astray."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def read(self, inside: str) -> str:
        return self.path(inside).read_text(errors="replace")

    def put(self, inside: str, text: str, mode: int = 0o644) -> Path:
        """Write a file, on or off."""
        file = self.path(inside) if self.alive else self._disk(inside)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def _disk(self, inside: str) -> Path:
        """Where a file of its own lies while it is off; files of the image are not there."""
        return self._folder / "disk" / inside.lstrip("/")

    def run(self, *argv: str, timeout_s: float = 60, text: str = "") -> subprocess.CompletedProcess[str]:
        """As somebody logged in by root's ssh would; never raises for an exit status."""
        return subprocess.run(self._enter(argv), input=text, capture_output=True, text=True, timeout=timeout_s)

    def popen(self, *argv: str, **options: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(self._enter(argv), **options)

    def _enter(self, argv: Sequence[str]) -> list[str]:
        env = (
            "env",
            "-i",
            "HOME=/root",
            "LANG=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        return [sys.executable, "-IS", str(HERE / "enter.py"), str(self.pid), CAPABILITIES, *env, *argv]

    def pids(self) -> list[int]:
        """All its processes, as the host counts."""
        here = os.readlink(f"/proc/{self.pid}/ns/pid")
        return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _namespace(p) == here]


def _namespace(process: Path) -> str:
    try:
        return os.readlink(process / "ns/pid")
    except OSError:
        return ""


def await_that(true: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    """Look again and again. Raises OSError."""
    until = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > until:
            raise OSError(otherwise())
        Event().wait(0.02)
