"""EC2 whose instances are machines of the bench: what is bought boots and runs its user data."""

import base64
import contextlib
import threading
from collections.abc import Iterable

from tests.contract.ec2_cloud import Call, Cloud, Moto
from tests.machines.bench import Bench
from tests.machines.machine import Machine


class Instances:
    """`cloud.url` is reached from the bench's farm side, or, when it is near, from this host. Images are those of the
    bench, by the AMI that names them."""

    def __init__(self, bench: Bench, images: dict[str, str], *, near: bool = False) -> None:
        self.bench, self._images = bench, images
        self._changed = threading.Condition()
        self._machines: dict[str, Machine] = {}
        self._wanted: set[str] = set()  # the others are to go off
        self._threads: list[threading.Thread] = []
        with contextlib.ExitStack() as stack:
            moto = Moto()
            stack.callback(moto.close)
            self.cloud = Cloud(moto, None if near else bench.farm.entered())
            stack.callback(self.cloud.close)
            self._ends = stack.pop_all()
        self.cloud.on_run, self.cloud.on_end = self._run, self._end

    def on(self) -> dict[str, Machine]:
        """The machines that are on, by instance."""
        with self._changed:
            return {name: machine for name, machine in self._machines.items() if machine.alive}

    def consoles(self) -> str:
        with self._changed:
            return "\n".join(f"── {name}\n{machine.console}" for name, machine in self._machines.items())

    def fail(self, instance: str) -> None:
        """The power of its host fails."""
        with self._changed:
            self._machines[instance].kill()
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._wanted.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._ends.close()

    def _run(self, instance: str, call: Call) -> None:
        """Bought: the answer does not wait for the machine."""
        thread = threading.Thread(target=self._live, args=(instance, call), name=instance)
        with self._changed:
            self._wanted.add(instance)
            self._threads.append(thread)
        thread.start()

    def _end(self, instances: Iterable[str]) -> None:
        with self._changed:
            self._wanted -= set(instances)
            self._changed.notify_all()

    def _live(self, instance: str, call: Call) -> None:
        """From power on to power off, whoever switches it off."""
        with self._changed:
            machine = self._machines[instance] = self.bench.machine(instance, self._images[call["ImageId"]])
        machine.boot(base64.b64decode(call["UserData"]).decode())
        with self._changed:
            while instance in self._wanted and machine.alive:
                self._changed.wait(0.1)
            by_itself = instance in self._wanted
        if by_itself:
            machine.kill()  # only what the bench keeps of it
            self.cloud.power_off(instance)
        else:
            machine.power_off()
