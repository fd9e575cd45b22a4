"""A farm and EC2: moto's server, whose instances really boot, as machines of the bench."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.contract.ec2_cloud import CREDENTIALS
from tests.machines.bench import Bench
from tests.machines.desks.desk import PRICE, Desk, Running
from tests.machines.ec2_shim import Instances

READY, BARE = "ami-00000000000000001", "ami-00000000000000002"
IMAGES = {READY: "povray", BARE: "plain"}
SETTINGS = """\
[listen]
address = "{address}:8443"
url = "https://{name}:8443"
[site]
outbound_lease = "{lease}"
[pools.cloud]
provider = "ec2"
image = "{image}"
slots = {slots}
ceiling = {ceiling}
boot = "10s"
idle = "2s"
price_per_hour = {price}
{setup}
[pools.cloud.options]
region = "eu-central-1"
instance_types = ["c7i.large", "c6i.large"]
endpoint_url = "{url}"
"""


class Ec2Desk(Desk):
    kind, pool = "ec2", "cloud"

    def __init__(
        self,
        instances: Instances,
        folder: Path,
        *,
        slots: int = 1,
        ceiling: int = 2,
        lease: str = "10m",
        image: str = READY,
        setup: str = "",
    ) -> None:
        self.bench, self.instances = instances.bench, instances
        text = SETTINGS.format(
            address=self.bench.address, name=self.bench.name, url=instances.cloud.url, price=PRICE,
            image=image, setup=setup, slots=slots, ceiling=ceiling, lease=lease,
        )  # fmt: skip
        super().__init__(folder, text)
        self.env |= CREDENTIALS

    def launch(self, line: list[str], **options: Any) -> "subprocess.Popen[Any]":
        return self.bench.farm.popen(line, **options)

    def machines(self) -> dict[str, Running]:
        on = self.instances.on()
        return {page.stem: on[name] for page in self.books() if (name := self.instance(page.stem)) in on}

    def left(self) -> list[str]:
        return [*self.instances.cloud.living(), *self.instances.on()]

    def books(self) -> list[Path]:
        """A page for each executor that was bought."""
        return sorted((self.home / "pools/cloud/ec2").glob("*.json"))

    def instance(self, executor: str) -> str:
        return str(json.loads((self.home / f"pools/cloud/ec2/{executor}.json").read_text())["instance"])

    def lived_s(self) -> float:
        """All instances, from their purchase to their end, as EC2 says; its times are whole seconds."""
        pages = [json.loads(page.read_text()) for page in self.books()]
        return sum(_seconds(page["launched_at"], page["ended_at"]) for page in pages)


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


@contextmanager
def cloud(bench: Bench) -> Iterator[Instances]:
    made = Instances(bench, IMAGES)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def desk(folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "10m") -> Iterator[Desk]:
    with (
        Bench() as bench,
        cloud(bench) as instances,
        Ec2Desk(instances, folder, slots=slots, ceiling=ceiling, lease=lease) as made,
    ):
        yield made
