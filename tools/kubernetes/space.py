"""The cluster's own mount, network and process namespaces. With their first process all ends that runs in them."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.kubernetes import place
from tools.kubernetes.place import Trouble

SYSCTLS = [  # kubelet writes to these; it shall write to copies
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
]
OWN_FOLDERS = ["/run/containerd", "/run/netns", "/var/log", "/var/lib/cni"]

FIRST = r"""
set -e
state=$1 address=$2 services=$3; shift 3
mount --make-rshared /
mount -t proc proc /proc
for f in $SYSCTLS; do mount --bind "$state/sysctl/${f##*/}" "/proc/sys/$f"; done
for d in $OWN_FOLDERS; do mkdir -p "$state/own$d" "$d"; mount --bind "$state/own$d" "$d"; done
ip link set lo up
ip link add k8s0 type bridge
ip addr add "$address/24" dev k8s0
ip link set k8s0 up
ip route add "$services" dev k8s0
echo 1 > /proc/sys/net/ipv4/ip_forward
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
echo ready
trap 'exit 0' TERM
while :; do sleep 3600 & wait $! || :; done
"""


def first() -> int | None:
    """Process id of the namespaces' first process, while it lives."""
    try:
        pid = int((place.state() / "pid" / "first").read_text())
    except (OSError, ValueError):
        return None
    return pid if lives(pid) else None


def lives(pid: int) -> bool:
    """A zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def open_() -> None:
    """Make the namespaces. Raises Trouble."""
    state = place.state()
    (state / "sysctl").mkdir(exist_ok=True)
    for name in SYSCTLS:
        (state / "sysctl" / Path(name).name).write_text(Path("/proc/sys", name).read_text())
    words = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "--propagation", "private", "sh", "-c", FIRST, "first"]
    env = os.environ | {"SYSCTLS": " ".join(SYSCTLS), "OWN_FOLDERS": " ".join(OWN_FOLDERS)}
    with open(state / "log" / "first", "wb") as log:
        outer = subprocess.Popen(
            [*words, str(state), place.NODE_IP, place.SERVICE_NET],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
            start_new_session=True,
        )
    assert outer.stdout is not None
    if outer.stdout.readline() != b"ready\n":
        raise Trouble(f"no namespaces could be made: {(state / 'log' / 'first').read_text().strip()}")
    inner = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0]
    note("outer", outer.pid)
    note("first", int(inner))


def note(name: str, pid: int) -> None:
    (place.state() / "pid" / name).write_text(str(pid))


def noted(name: str) -> int | None:
    try:
        pid = int((place.state() / "pid" / name).read_text())
    except (OSError, ValueError):
        return None
    return pid if lives(pid) else None


def inside(words: Sequence[str], mounts: bool = True) -> list[str]:
    """The command line that runs `words` in the cluster's namespaces; without `mounts` in its network alone."""
    pid = first()
    if pid is None:
        raise Trouble("the cluster is not up; type: python -m tools.kubernetes up")
    return ["nsenter", "-t", str(pid), *(["-m", "-n", "-p", "--wdns=/"] if mounts else ["-n"]), *words]


def daemon(name: str, words: Sequence[str]) -> None:
    """Start one unless it lives; it becomes the first process's child, as a stopped nsenter would keep all alive."""
    if noted(name) is not None:
        return
    log = place.state() / "log" / name
    script = 'log=$1; shift; setsid "$@" >> "$log" 2>&1 < /dev/null & echo $!'
    told = subprocess.run(
        inside(["sh", "-c", script, "daemon", str(log), *words]), check=True, capture_output=True, text=True
    )
    note(name, _outside(int(told.stdout)))


def _outside(pid: int) -> int:
    """The id by which a process of the namespace is known here."""
    space = os.readlink(f"/proc/{first()}/ns/pid")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns" / "pid") == space and _inner(folder) == pid:
                return int(folder.name)
        except OSError:
            continue
    raise Trouble(f"a daemon of the cluster ended at once; see {place.state() / 'log'}")


def _inner(folder: Path) -> int:
    lines = (folder / "status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


def until(what: str, seconds: float, there: Callable[[], bool]) -> None:
    """Wait for it. Raises Trouble."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if there():
            return
        pause.wait(0.1)
    raise Trouble(f"{what} is not there after {seconds:.0f} s; see {place.state() / 'log'}")


def close() -> None:
    """End the namespaces and whoever was let into its network."""
    pid, outer = first(), noted("outer")
    network = os.readlink(f"/proc/{pid}/ns/net") if pid else ""
    if pid:
        os.kill(pid, signal.SIGKILL)
    for guest in _guests(network):
        with contextlib.suppress(ProcessLookupError):
            os.kill(guest, signal.SIGKILL)
    until("the end of the cluster", 20, lambda: not any(p and lives(p) for p in (pid, outer)))


def _guests(network: str) -> list[int]:
    if not network or network == os.readlink("/proc/self/ns/net"):
        return []
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns" / "net") == network:
                found.append(int(folder.name))
        except OSError:
            continue
    return found
