"""QEMU: whether it is here, and its command line, which must be the same for a template and all its clones."""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from executors.errors import Refused

QEMU, IMAGES = "qemu-system-x86_64", "qemu-img"
TCG_BUFFER = 32  # MiB of translated code; 4 thrash
# tsc=reliable: emulated cpus read one clock of QEMU, and tests of it fail on a busy host; its pace is measured instead.
KERNEL = "root=/dev/vda rootfstype=ext4 rw console=ttyS0 quiet panic=-1 tsc=reliable init=/opt/farm-init"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True)
class Shape:
    """What is frozen with a template: its clones can't have another."""

    vcpus: int
    mib: int
    accel: str
    version: str  # of QEMU
    machine: str  # versioned, so that another QEMU means the same by it

    def words(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Parts:
    """Files and descriptors of one machine. `private` memory is copied on write; descriptors are inherited."""

    memory: Path
    private: bool
    disk: Path
    kernel: Path
    initrd: Path
    console: Path
    control: int
    line: int


def need(*programs: str) -> None:
    """Raises Refused that says what to install."""
    packages = {QEMU: "qemu-system-x86", IMAGES: "qemu-utils", "mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs"}
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        wanted = " ".join(packages.get(name, name) for name in missing)
        raise Refused(f"VM clones need {', '.join(missing)}: apt-get install --no-install-recommends {wanted}")


@cache
def version() -> str:
    """Such as 7.2.22. Raises Refused."""
    need(QEMU)
    said = _said(QEMU, "--version")
    found = re.search(r"version (\d+\.\d+\.\d+)", said)
    if not found:
        raise Refused(f"{QEMU} --version says {said[:80]!r}, which is no version")
    return found[1]


@cache
def machine() -> str:
    """The newest q35 that this QEMU knows, by its versioned name. Raises Refused."""
    need(QEMU)
    found = re.search(r"^q35 .*\(alias of (\S+)\)", _said(QEMU, "-machine", "help"), re.MULTILINE)
    if not found:
        raise Refused(f"{QEMU} has no machine q35; install qemu-system-x86")
    return found[1]


def _said(*words: str) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.stdout


def shape(vcpus: int, mib: int, accel: str) -> Shape:
    """Raises Refused."""
    return Shape(vcpus, mib, accel, version(), machine())


def argv(shape: Shape, parts: Parts) -> list[str]:
    """Everything both kinds have; a clone adds `awaiting`."""
    accel = f"tcg,tb-size={TCG_BUFFER}" if shape.accel == "tcg" else shape.accel
    memory = f"size={shape.mib}M,mem-path={parts.memory},share={'off' if parts.private else 'on'}"
    disk = {
        "driver": "qcow2",
        "node-name": "d0",
        "file": {"driver": "file", "filename": str(parts.disk)},
        "discard": "unmap",
    }
    return [
        *(QEMU, "-M", f"{shape.machine},memory-backend=ram0", "-accel", accel),
        *("-cpu", "max" if shape.accel == "tcg" else "host", "-m", str(shape.mib), "-smp", str(shape.vcpus)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-object", f"memory-backend-file,id=ram0,{memory}"),
        *("-kernel", str(parts.kernel), "-initrd", str(parts.initrd), "-append", KERNEL),
        *("-serial", f"file:{parts.console}"),
        *("-chardev", f"socket,id=control,fd={parts.control}", "-mon", "chardev=control,mode=control"),
        *("-blockdev", json.dumps(disk), "-device", "virtio-blk-pci,drive=d0"),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=line,fd={parts.line}", "-device", "virtserialport,chardev=line,name=farm,nr=1"),
    ]


AWAITING = ("-incoming", "defer", "-sandbox", SANDBOX)


def fingerprint(shape: Shape) -> str:
    """Of the command line: devices that differ between template and clone end the clone, or worse, do not."""
    nowhere = Path("/")
    words = argv(shape, Parts(nowhere, False, nowhere, nowhere, nowhere, nowhere, 0, 0))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def state_uri(shape: Shape, state: Path, descriptor: int) -> str:
    """How a clone is told to read the state: by name since 8.2, by an inherited descriptor before."""
    major, minor, *_ = (int(number) for number in shape.version.split("."))
    return f"file:{state}" if (major, minor) >= (8, 2) else f"fd:{descriptor}"
