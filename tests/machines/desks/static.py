"""A farm and owned machines behind a router: they join by themselves and stand by."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.yard import eventually
from tests.machines.bench import Bench
from tests.machines.desks.desk import PATIENCE_S, PRICE, Desk, Running
from tests.machines.machine import Machine

SETTINGS = """\
[listen]
address = "{address}:8443"
url = "https://{name}:8443"
[site]
outbound_lease = "{lease}"
[pools.desks]
provider = "static"
slots = {slots}
ceiling = {ceiling}
idle = "2s"
boot = "10s"
price_per_hour = {price}
"""
FETCH = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/farm/ca.pem")
with urllib.request.urlopen(sys.argv[1] + "/v1/executor.pyz", context=trust) as answer:
    open("/usr/local/lib/executor.pyz", "wb").write(answer.read())
"""
USER_DATA = """#!/bin/sh
python3 /etc/farm/fetch.py https://farm.bench:8443
exec python3 -IS /usr/local/lib/executor.pyz --join https://farm.bench:8443 --pool {pool} \\
  --ticket /etc/farm/ticket --ca /etc/farm/ca.pem --folder /var/lib/standby --slots {slots} {more}
"""


class StaticDesk(Desk):
    kind, pool = "static", "desks"

    def __init__(
        self, bench: Bench, folder: Path, *, slots: int = 1, ceiling: int = 4, lease: str = "10m", more: str = ""
    ) -> None:
        """`more`: of farm.toml."""
        self.bench, self.slots = bench, slots
        self.owns: list[Machine] = []
        text = SETTINGS.format(
            address=bench.address, name=bench.name, lease=lease, slots=slots, ceiling=ceiling, price=PRICE
        )
        super().__init__(folder, text + more)

    def launch(self, line: list[str], **options: Any) -> "subprocess.Popen[Any]":
        return self.bench.farm.popen(line, **options)

    def ticket(self, pool: str = "desks") -> str:
        return str(self.json("token", "create", "--join", pool)["secret"])

    def furnished(self, name: str, image: str = "povray", ticket: str | None = None) -> Machine:
        """A machine with what somebody has carried there by hand, still off."""
        machine = self.bench.machine(name, image)
        machine.put("/etc/farm/ca.pem", self("ca", "show").partition("\n")[2])
        machine.put("/etc/farm/ticket", ticket if ticket is not None else self.ticket(), 0o600)
        machine.put("/etc/farm/fetch.py", FETCH)
        return machine

    def owned(self, name: str, image: str = "povray", more: str = "") -> Machine:
        """One that stands by."""
        machine = self.furnished(name, image)
        machine.boot(self.user_data(more=more))
        eventually(lambda: "stands by" in machine.console, PATIENCE_S)
        self.owns.append(machine)
        return machine

    def user_data(self, pool: str = "desks", more: str = "") -> str:
        return USER_DATA.format(pool=pool, slots=self.slots, more=more)

    def machines(self) -> dict[str, Running]:
        owned = {machine.name: machine for machine in self.owns if machine.alive}
        lent = {name: host.rpartition("-")[0] for name, host in self.lent().items()}
        return {name: owned[host] for name, host in lent.items() if host in owned}

    def lent(self) -> dict[str, str]:
        """Executor → the machine that it is on, as it calls itself: `ws-1-e148`."""
        try:
            loans = json.loads((self.home / "pools/desks/loans.json").read_text())
        except FileNotFoundError:
            return {}
        return {loan["id"]: loan["machine"] for loan in loans if not loan["ended_at"]}

    def left(self) -> list[str]:
        """Machines that are on and have more than the first process, the light program, and who looks."""
        return [f"an executor on {machine.name}" for machine in self.owns if machine.alive and not quiet(machine)]


def quiet(machine: Machine) -> bool:
    """Nothing of an executor is on it: no process, no folder."""
    told = machine.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    folders = machine.run("sh", "-c", "ls -d /tmp/fx-* /var/tmp/farm-executor-*").stdout
    return "executors.site" not in told and "ray" not in told and not folders


@contextmanager
def desk(
    folder: Path, *, slots: int = 1, ceiling: int = 2, lease: str = "10m", image: str = "povray"
) -> Iterator[Desk]:
    """As many machines as may work stand by."""
    with Bench() as bench, StaticDesk(bench, folder, slots=slots, ceiling=ceiling, lease=lease) as made:
        for n in range(1, ceiling // slots + 1):
            made.owned(f"ws-{n}", image)
        yield made
