"""A farm and clones of a virtual machine on this host: real QEMU, emulated."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract.yard import commands_with
from tests.machines.clones import MIB, template
from tests.machines.desks.desk import PRICE, Desk, Processes, Running

PACKAGES = ("povray", "povray-includes", "python3-pip")
SETTINGS = """\
[site]
lease = "{lease}"
[pools.clones]
provider = "vmclone"
slots = {slots}
ceiling = {ceiling}
boot = "1s"
idle = "2s"
price_per_hour = {price}
[pools.clones.options]
mib = {mib}
packages = {packages}
"""


class VmcloneDesk(Desk):
    """Its template is made first, where there is none yet: minutes."""

    kind, pool = "vmclone", "clones"
    patience_s = 300  # emulated, all takes its time

    def __init__(self, folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "60s") -> None:
        template(slots, *PACKAGES)
        text = SETTINGS.format(slots=slots, ceiling=ceiling, lease=lease, price=PRICE, mib=MIB, packages=list(PACKAGES))
        super().__init__(folder, text)

    def machines(self) -> dict[str, Running]:
        return {name: Processes(pids) for name, pids in self.processes("clone").items()}

    def left(self) -> list[str]:
        """Processes, and disks."""
        disks = [str(disk) for disk in (self.home / "pools").rglob("*.qcow2")]
        return [*(line[:120] for line in commands_with(f"{self.home}/pools/{self.pool}")), *disks]


@contextmanager
def desk(folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "60s") -> Iterator[Desk]:
    with VmcloneDesk(folder, slots=slots, ceiling=ceiling, lease=lease) as made:
        yield made
