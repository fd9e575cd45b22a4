"""The site contract, kept by Ray."""

import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from executors.errors import Lost
from executors.site.head import stop_head
from executors.site.process import Process
from executors.site.ray_site import RaySite
from executors.site.raylet import node_folder
from executors.site.rest import REST_S
from tests.contract.site_suite import SiteSuite
from tests.contract.yard import Yard, eventually


class RayYard(Yard):
    def close(self) -> None:
        self.provider.terminate([m.id for m in self.provider.machines()])
        self.site.close()
        stop_head(self.run)
        super().close()


def ray_yard() -> RayYard:
    return RayYard("ray", lambda run: RaySite(run, "f1"))


class TestRaySite(SiteSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return ray_yard()


@pytest.fixture
def yard() -> Iterator[Yard]:
    yard = ray_yard()
    yield yard
    yard.close()


def process_of(yard: Yard, executor: str, role: str) -> Process:
    (pid,) = [p["pid"] for p in yard.site.processes() if (p["executor"], p["role"]) == (executor, role)]
    return Process.of(pid)


def test_death_is_noticed_in_seconds(yard: Yard):
    on = yard.executor(1)
    process_of(yard, on, "raylet").signal(signal.SIGKILL)
    eventually(lambda: yard.site.lost() == [on], within=5)
    eventually(lambda: yard.ended(on))


def test_an_executor_without_its_agent_is_lost_and_goes(yard: Yard):
    on = yard.executor(1)
    process_of(yard, on, "agent").signal(signal.SIGKILL)
    eventually(lambda: yard.site.lost() == [on], within=10)
    eventually(lambda: yard.ended(on))


def test_a_frozen_executor_is_lost_and_its_late_calls_fail(yard: Yard):
    on = yard.executor(1)
    raylet, agent = process_of(yard, on, "raylet"), process_of(yard, on, "agent")
    raylet.signal(signal.SIGSTOP)
    agent.signal(signal.SIGSTOP)
    try:
        eventually(lambda: yard.site.lost() == [on], within=20)
        with pytest.raises(Lost):
            yard.site.start([yard.work("1.1.1", "true")], on)
    finally:
        raylet.signal(signal.SIGCONT)
        agent.signal(signal.SIGCONT)
    eventually(lambda: yard.ended(on))


def looks(agent: int) -> int:
    """How often its main thread has gone to sleep."""
    status = Path(f"/proc/{agent}/task/{agent}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")))


def test_an_agent_that_nobody_calls_rests_and_hears_a_call_at_once(yard: Yard):
    on = yard.executor(1)
    agent = process_of(yard, on, "agent").pid
    took = []
    for _ in range(5):
        before, nobody = looks(agent), threading.Event()
        nobody.wait(1)
        assert looks(agent) - before < 60  # of 100
        began = time.monotonic()
        assert yard.site.snapshot() == []
        took.append(time.monotonic() - began)
    assert sorted(took)[2] < REST_S / 2


class HardOfHearing:
    """An agent that misses every nudge, as one does whose poll is still on its way."""

    def __init__(self, agent: Any) -> None:
        self._agent, self.nudge = agent, self

    def remote(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)


def test_a_gateway_can_be_restarted_while_a_poll_waits(yard: Yard):
    """A thread that waits inside Ray while Ray is shut down and begun anew aborts the whole process."""
    on = yard.executor(1)
    for tried in range(8):
        (member,) = yard.site._members.values()
        member.agent = HardOfHearing(member.agent)
        yard.result(on, yard.work(f"1.{tried}.1", "true"))
        yard.again()
        eventually(lambda: yard.ready() == [on])


def test_an_expected_executor_that_never_came_can_be_stopped(yard: Yard):
    yard.site.attach("never", 1)
    yard.site.stop("never", timedelta(seconds=1))
    assert yard.site.lost() == []
    assert yard.ready() == []


def test_folders_of_gone_executors_are_removed(yard: Yard):
    on = yard.executor(1)
    assert node_folder(yard.run, on).is_dir()
    yard.site.stop(on, timedelta(0))
    eventually(lambda: yard.ended(on))
    assert not node_folder(yard.run, on).exists()
