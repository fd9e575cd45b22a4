"""The contracts of providers and sites, kept by clones of a virtual machine: real QEMU, emulated."""

import fcntl
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from executors.contract import MachineState, Provider, Surroundings
from executors.site.plain_site import PlainSite
from executors.site.proc import descendants
from executors.site.ray_site import RaySite
from tests.contract.provider_suite import ProviderSuite
from tests.contract.site_suite import SiteSuite
from tests.contract.test_ray_site import RayYard
from tests.contract.yard import Yard, commands_with, eventually
from tests.machines.clones import CloneYard, clones, template
from tests.machines.ports import reachable

pytestmark = pytest.mark.timeout(900)  # the first of them makes the templates


class TestProvider(ProviderSuite):
    @pytest.fixture(autouse=True)
    def _here(self) -> Iterator[None]:
        template(1)
        with tempfile.TemporaryDirectory(prefix="fv-", dir="/tmp") as home:
            self.around = Surroundings("f1", "pool", home, home, f"{home}/store", "plain", timedelta(seconds=60))
            yield
            eventually(lambda: not commands_with(home))

    def make(self) -> Provider:
        return clones(self.around, self.ceiling)

    def break_down(self, machine: str) -> None:
        signed = Path(self.around.home, "executors", machine, "machine.json")
        eventually(signed.exists)
        os.kill(json.loads(signed.read_text())["pid"], signal.SIGKILL)

    def test_a_clone_that_does_not_wake_up_is_told(self, provider: Provider, monkeypatch: pytest.MonkeyPatch):
        made = template(1)
        spoilt = Path(self.around.home, "cache", "elastic-farm", "vmclone", made.folder.name)
        spoilt.mkdir(parents=True)
        for file in made.folder.iterdir():
            (spoilt / file.name).symlink_to(file)
        (spoilt / "state").unlink()
        (spoilt / "state").write_bytes(b"no machine was ever in this state")
        monkeypatch.setenv("XDG_CACHE_HOME", str(spoilt.parents[2]))
        (one,) = provider.launch(self.order("a")).machines
        eventually(lambda: [m.state for m in provider.machines()] == [MachineState.ENDED])
        (ended,) = provider.machines()
        assert ended.id == one.id
        assert "the guest has ended" in ended.error
        assert "QEMU" in ended.error or "qemu" in ended.error

    def test_while_a_clone_lives_its_template_stays(self, provider: Provider):
        (one,) = provider.launch(self.order("a")).machines
        doors = Path(self.around.run, "x")
        eventually(lambda: Path(self.around.home, "executors", one.id, "disk.qcow2").exists())
        eventually(lambda: not list(doors.glob("*.guest")))  # it has woken up, and somebody speaks for it
        pause = threading.Event()
        with open(template(1).folder / "manifest.json") as held:
            for _ in range(10):
                pause.wait(0.05)
                with pytest.raises(BlockingIOError):
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


class CloneSuite(SiteSuite):
    def test_work_runs_in_the_guest_and_nowhere_else(self, yard: Yard, on: str):
        yard.result(on, yard.work("90.1.1", "sh", "-c", "cat /sys/class/dmi/id/sys_vendor /proc/sys/kernel/hostname"))
        assert yard.log("90.1.1").decode().split() == ["QEMU", on]
        yard.site.start([yard.work("90.2.1", "sleep", "8555.5")], on)
        yard.until_started("90.2.1")
        assert yard.commands_with("sleep 8555.5")
        assert not commands_with("sleep 8555.5")
        yard.site.cancel(["90.2.1"])
        yard.until("90.2.1")

    def test_nothing_listens_for_others(self, yard: Yard, on: str):
        pid = yard.process(on)
        assert reachable([pid, *descendants(pid)]) == []


class TestPlainSite(CloneSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return CloneYard("plain", PlainSite)


class CloneRayYard(RayYard, CloneYard):
    """Clones behind agents that are Ray's."""


class TestRaySite(CloneSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return CloneRayYard("ray", lambda run: RaySite(run, "f1"))
