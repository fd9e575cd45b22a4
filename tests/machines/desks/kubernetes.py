"""A farm and a real cluster, in whose network it sits."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.machines.desks.desk import PRICE, Desk, Processes, Running
from tests.machines.kubernetes_cluster import Namespace, cluster, inside, namespace
from tools.kubernetes import farm_images, place

SETTINGS = """\
[listen]
address = "{listen}"
[site]
outbound_lease = "{lease}"
[pools.pods]
provider = "kubernetes"
image = "{image}"
slots = {slots}
ceiling = {ceiling}
boot = "60s"
idle = "2s"
price_per_hour = {price}
[pools.pods.options]
kubeconfig = "{kubeconfig}"
namespace = "{namespace}"
image_pull_policy = "Never"
cpu = "100m"
memory = "1Gi"
disk = "1Gi"
"""


class KubernetesDesk(Desk):
    kind, pool = "kubernetes", "pods"

    def __init__(
        self,
        there: Namespace,
        folder: Path,
        *,
        slots: int = 1,
        ceiling: int = 2,
        lease: str = "10m",
        image: str = farm_images.EXECUTOR,
    ) -> None:
        self.there = there
        self._cut: dict[str, Pod] = {}
        text = SETTINGS.format(
            listen=f"{place.NODE_IP}:8443", kubeconfig=place.kubeconfig(inside=True), namespace=there.name,
            image=image, slots=slots, ceiling=ceiling, lease=lease, price=PRICE,
        )  # fmt: skip
        super().__init__(folder, text)

    def launch(self, line: list[str], **options: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(inside(*line), **options)

    def machines(self) -> dict[str, Running]:
        pods = [pod for pod in self.there.pods() if pod["status"]["phase"] == "Running"]
        return {pod["metadata"]["labels"]["elastic-farm/executor"]: self._machine(pod) for pod in pods}

    def _machine(self, pod: Any) -> "Pod":
        return Pod(self.there, pod, self._cut)

    def __exit__(self, *error: object) -> None:
        for pod in [*self._cut.values()]:  # its address will be another's
            pod.restore()
        super().__exit__(*error)

    def left(self) -> list[str]:
        return self.there.left()


class Pod:
    """A pod that works for an executor. `cut` keeps those without a connection."""

    def __init__(self, there: Namespace, pod: Any, cut: "dict[str, Pod]") -> None:
        self._there, self._among = there, cut
        self.name, self._uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self._address = pod["status"].get("podIP", "")

    def kill(self) -> None:
        """At once, as when its node fails."""
        self._there.call("DELETE", f"pods/{self.name}", {"gracePeriodSeconds": 0})

    def freeze(self, frozen: bool = True) -> None:
        """Twice, as it may have begun one more meanwhile."""
        for _ in range(2):
            Processes(self.pids()).freeze(frozen)

    def cut(self) -> None:
        self._among[self.name] = self
        self._drop("-I")

    def restore(self) -> None:
        if self._among.pop(self.name, None):
            self._drop("-D")

    def pids(self) -> list[int]:
        """All its processes, as this machine counts."""
        return [int(one.name) for one in Path("/proc").glob("[0-9]*") if f"/pod{self._uid}/" in _groups(one)]

    def _drop(self, act: str) -> None:
        """What comes from it, on the node; and what comes to it, inside, while it lives."""
        rule = ["iptables", "-w", "-t", "raw", act, "PREROUTING"]
        subprocess.run(inside(*rule, "-s", self._address, "-j", "DROP"), check=True)
        for pid in self.pids()[:1]:
            subprocess.run(["nsenter", "-t", str(pid), "-n", *rule, "-i", "eth0", "-j", "DROP"], check=False)


def _groups(process: Path) -> str:
    try:
        return (process / "cgroup").read_text()
    except OSError:
        return ""


@contextmanager
def desk(folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "10m") -> Iterator[Desk]:
    with cluster(), namespace() as there:
        farm_images.bring_executor()
        with KubernetesDesk(there, folder, slots=slots, ceiling=ceiling, lease=lease) as made:
            yield made
