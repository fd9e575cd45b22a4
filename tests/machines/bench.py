"""The test bench: networks, images and the machines on them."""

import contextlib
import functools
import os
import shutil
from pathlib import Path
from types import TracebackType

from tests.machines import image
from tests.machines.image import Missing
from tests.machines.machine import Machine, sweep
from tests.machines.netspace import NetSpace
from tests.machines.network import FARM, NAME, Network
from tests.machines.registry import Registry

PROGRAMS = ("mmdebstrap", "nft", "ip", "tc", "unshare", "nsenter", "setpriv")


class Bench:
    """`with Bench() as bench:`; machines go with it, whatever happens to them."""

    address, name = FARM, NAME  # of the farm's side, for machines

    def __enter__(self) -> "Bench":
        check()
        sweep()
        with contextlib.ExitStack() as stack:
            self.network = Network()
            stack.callback(self.network.close)
            self._registry = Registry(self.network.router, functools.cache(image.registry))
            stack.callback(self._registry.close)
            self._machines: list[Machine] = []
            stack.callback(self._close_machines)
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ends.close()

    @property
    def farm(self) -> NetSpace:
        """Where the farm is run: `bench.farm.popen(argv)`, `bench.farm.run(*argv)`, `with bench.farm.entered():`."""
        return self.network.farm

    def machine(self, name: str, image_name: str = "plain") -> Machine:
        """A new one, off. Raises Missing when its image can't be made here."""
        made = Machine(name, image.layers(image_name), self.network.plug(), {NAME: FARM})
        self._machines.append(made)
        return made

    def machines(self) -> list[Machine]:
        """All that were made, those that are off too."""
        return list(self._machines)

    def _close_machines(self) -> None:
        with contextlib.ExitStack() as stack:
            for machine in self._machines:
                stack.callback(machine.close)


def check() -> None:
    """Raises Missing with what this machine lacks."""
    if os.geteuid() != 0:
        raise Missing("machines are made by root: please type: sudo make test-machines")
    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if lacking:
        raise Missing(f"{', '.join(lacking)} missing; please type: sudo sh tools/programs.sh machines")
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise Missing("this kernel has no overlay file system (please type: modprobe overlay)")
