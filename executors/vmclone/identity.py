"""Who a clone is: told by the host as its first word, taken on by the guest before anything else happens there."""

import os
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

SEED = 64  # bytes
PORTS, PORT = "/sys/class/virtio-ports", "farm"  # the line to the host, by which a guest of ours is known
FIRST, PROGRAM = "/proc/1/cmdline", "executors.vmclone.guest"  # and what its first process runs
RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207  # ioctl(2) of /dev/urandom


class NoGuest(Exception):
    """This is a machine of somebody's: its clock, its name and its life are not ours."""


def in_guest() -> bool:
    """Whether this machine is a guest of ours."""
    try:
        ports = os.listdir(PORTS)
    except OSError:
        return False
    return any(_said(f"{PORTS}/{port}/name").strip() == PORT for port in ports) and PROGRAM in _said(FIRST)


def _said(file: str) -> str:
    try:
        with open(file, errors="replace") as opened:
            return opened.read()
    except OSError:
        return ""


def only_in_guest() -> None:
    """Raises NoGuest; called before anything is changed."""
    if not in_guest():
        raise NoGuest(f"this is no guest of the farm: it has no port {PORT!r}, or its first process is another")


@dataclass(frozen=True, slots=True)
class Identity:
    """`at` is the host's clock in ns, `seed` hex; the guest echoes `nonce`, so that an older answer is none."""

    nonce: str
    executor: str
    at: int
    seed: str
    hostname: str
    machine_id: str

    @classmethod
    def fresh(cls, executor: str) -> "Identity":
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in executor.lower()).strip("-")[:63]
        return cls(
            secrets.token_hex(16), executor, time.time_ns(), secrets.token_hex(SEED), name, secrets.token_hex(16)
        )

    def words(self) -> dict[str, Any]:
        return asdict(self)


def assume(identity: Identity) -> None:
    """Become this one. What the kernel and this interpreter would have drawn next, every other clone would draw too:
    all of it is stirred. Raises NoGuest, and OSError when the kernel can't be."""
    only_in_guest()
    reseed_kernel(bytes.fromhex(identity.seed))
    reseed_libraries()
    set_clock(identity.at)
    rename(identity.hostname, identity.machine_id)


def reseed_kernel(seed: bytes) -> None:
    import fcntl
    import struct

    with open("/dev/urandom", "wb") as device:
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(device, RNDRESEEDCRNG)


def reseed_libraries() -> None:
    """Those of this process: `random`, the names of temporary files, OpenSSL."""
    import random
    import ssl
    import tempfile

    random.seed(os.urandom(SEED))
    ssl.RAND_add(os.urandom(SEED), float(SEED))
    tempfile._name_sequence = None  # type: ignore[attr-defined]


def set_clock(at: int) -> None:
    """Monotonic time goes on from the template's; the wall clock jumps to now. Raises NoGuest."""
    only_in_guest()
    time.clock_settime_ns(time.CLOCK_REALTIME, at)


def rename(hostname: str, machine_id: str) -> None:
    """Raises NoGuest, OSError."""
    import socket

    only_in_guest()
    socket.sethostname(hostname)
    for file, text in (("/etc/hostname", hostname), ("/etc/machine-id", machine_id)):
        with open(file, "w") as out:
            out.write(f"{text}\n")
    with open("/etc/hosts", "w") as out:
        out.write(f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n")


def drawn() -> dict[str, Any]:
    """What this process draws now: for the test that no two clones draw the same."""
    import random
    import ssl
    import tempfile
    import uuid

    return {
        "random": random.random(),
        "ssl": ssl.RAND_bytes(16).hex(),
        "temporary": os.path.basename(tempfile.mktemp()),
        "kernel": os.urandom(16).hex(),
        "uuid": str(uuid.uuid4()),
    }
