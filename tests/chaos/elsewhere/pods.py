"""Pods of a real cluster. Their network is their own: what is done to it goes with it."""

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.elsewhere.faults import (
    SERVICE,
    Maker,
    cut,
    freeze_machine,
    full,
    kill_machine,
    kill_process,
    slow,
)
from tests.chaos.elsewhere.run import Outcome, looked_at, story
from tests.chaos.elsewhere.scene import Scene, settle
from tests.machines.desks.kubernetes import KubernetesDesk, Pod
from tests.machines.kubernetes_cluster import Namespace, cluster, namespace
from tools.kubernetes import farm_images, place

PORT = 8543  # not the one of other farms in this cluster
RULES = "add table inet chaos; add chain inet chaos {way} {{ type filter hook {way} priority 0; }}"


class PodHere(Pod):
    """One whose processes and network are within reach: the cluster's node is this machine."""

    def pids(self) -> list[int]:
        """Its container's, as this machine counts; not those of the pause container."""
        return [pid for pid in _strangers() if _host(pid) == self.name and _name(pid) != "pause"]

    def freeze(self, frozen: bool = True) -> None:
        for _ in range(2):  # those that were born meanwhile, too
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def cut(self) -> None:
        self._drop("drop")

    def restore(self) -> None:
        self._net("nft", "delete table inet chaos")

    def slow(self, *, kbit: int = 0, delay_ms: float = 0, loss: float = 0) -> None:
        """There is no delay here: a connection that is long loses a little instead."""
        if kbit:
            self._net(*f"tc qdisc replace dev eth0 root tbf rate {kbit}kbit burst 32kb latency 400ms".split())
        elif loss or delay_ms:
            self._drop(f"numgen random mod 10000 < {round((loss or 0.05) * 10000)} drop")
        else:
            self._net("sh", "-c", "tc qdisc del dev eth0 root; nft delete table inet chaos; :")

    def _drop(self, rule: str) -> None:
        for way in ("input", "output"):
            self._net("nft", f"{RULES.format(way=way)}; add rule inet chaos {way} {rule}")

    def _net(self, *argv: str) -> None:
        for pid in self.pids()[:1]:
            subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, timeout=30)


def _strangers() -> Iterator[int]:
    """Processes of other process namespaces than ours."""
    here = os.readlink("/proc/self/ns/pid")
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "ns/pid") != here:
                yield int(entry.name)


def _host(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/root/etc/hostname").read_text().strip()
    return ""


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


class Cluster(KubernetesDesk):
    def _machine(self, pod: Any) -> PodHere:
        return PodHere(self.there, pod, self._cut)


def ballast(scene: Scene) -> Mapping[str, Path]:
    """Of a pod's own disk; who writes more than its share is evicted."""
    found = {}
    for name, pod in scene.desk.machines().items():
        if isinstance(pod, PodHere) and (pids := pod.pids()):
            found[name] = Path(f"/proc/{pids[0]}/root/tmp/ballast")
    return found


MAKERS: tuple[Maker, ...] = (
    kill_machine,
    freeze_machine,
    cut,
    slow,
    full(ballast, 150 << 20, longest_s=14),  # the cluster looks every ten seconds
    kill_process("site.executor", "site.gateway", "site.agent", ""),
    *SERVICE,
)


@contextlib.contextmanager
def pods() -> Iterator[Namespace]:
    with cluster(), namespace() as there:
        farm_images.bring_executor()
        yield there


def kubernetes(there: Namespace, folder: Path, choose: random.Random, outcome: Outcome) -> None:
    slots = choose.choice([1, 2])
    desk = Cluster(there, folder, slots=slots, ceiling=slots * choose.choice([2, 3]), lease=f"{outcome.lease_s:g}s")
    listen = f'"{place.NODE_IP}:{PORT}"'
    settle(desk, outcome.engine, price_per_hour='"0.777777777"', address=listen, disk='"128Mi"')
    scene = Scene(desk, folder, outcome.lease_s, desk.left)
    try:
        with desk:
            story(scene, MAKERS, choose, outcome)
        outcome.findings += looked_at(scene)
    finally:
        if outcome.findings:
            (folder / "pods").write_text(str(there.pods()))
        scene.ground.clear()
