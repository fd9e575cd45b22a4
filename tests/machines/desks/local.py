"""A farm whose executors are processes beside it: what the other kinds are compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract.yard import commands_with
from tests.machines.desks.desk import PRICE, Desk, Processes, Running

SETTINGS = """\
[site]
lease = "{lease}"
[pools.local]
provider = "local"
slots = {slots}
ceiling = {ceiling}
idle = "2s"
price_per_hour = {price}
"""


class LocalDesk(Desk):
    kind, pool = "local", "local"

    def __init__(self, folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "60s") -> None:
        super().__init__(folder, SETTINGS.format(slots=slots, ceiling=ceiling, lease=lease, price=PRICE))

    def machines(self) -> dict[str, Running]:
        return {name: Processes(pids) for name, pids in self.processes("executor", "raylet", "agent").items()}

    def left(self) -> list[str]:
        return [line[:120] for line in commands_with(f"{self.home}/pools/{self.pool}")]


@contextmanager
def desk(folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "60s") -> Iterator[Desk]:
    with LocalDesk(folder, slots=slots, ceiling=ceiling, lease=lease) as made:
        yield made
