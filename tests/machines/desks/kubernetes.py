"""A farm and a real cluster, in whose network it sits."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.machines.desks.desk import PRICE, Desk, Running
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
        text = SETTINGS.format(
            listen=f"{place.NODE_IP}:8443", kubeconfig=place.kubeconfig(inside=True), namespace=there.name,
            image=image, slots=slots, ceiling=ceiling, lease=lease, price=PRICE,
        )  # fmt: skip
        super().__init__(folder, text)

    def launch(self, line: list[str], **options: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(inside(*line), **options)

    def machines(self) -> dict[str, Running]:
        pods = [pod["metadata"] for pod in self.there.pods() if pod["status"]["phase"] == "Running"]
        return {pod["labels"]["elastic-farm/executor"]: Pod(self.there, pod["name"]) for pod in pods}

    def left(self) -> list[str]:
        return self.there.left()


class Pod:
    """A pod that works for an executor."""

    def __init__(self, there: Namespace, name: str) -> None:
        self._there, self.name = there, name

    def kill(self) -> None:
        """At once, as when its node fails."""
        self._there.call("DELETE", f"pods/{self.name}", {"gracePeriodSeconds": 0})


@contextmanager
def desk(folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "10m") -> Iterator[Desk]:
    with cluster(), namespace() as there:
        farm_images.bring_executor()
        with KubernetesDesk(there, folder, slots=slots, ceiling=ceiling, lease=lease) as made:
            yield made
