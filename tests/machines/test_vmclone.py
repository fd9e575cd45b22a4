"""A farm whose executors are clones of a virtual machine: real QEMU, emulated; nothing, then work, then nothing."""

import itertools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from executors.vmclone.clone import start
from executors.vmclone.peer import Peer
from tests.contract.yard import commands_with, eventually
from tests.machines.clones import template
from tests.machines.demonstration import shown
from tests.machines.desks.vmclone import VmcloneDesk

pytestmark = pytest.mark.timeout(900)  # the first of them makes the template


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fv-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def farm(folder: Path) -> Iterator[VmcloneDesk]:
    with VmcloneDesk(folder) as desk:
        yield desk
    eventually(lambda: not commands_with(str(desk.home)))
    assert not desk.left()


def executors(farm: VmcloneDesk, *states: str) -> list[str]:
    return [e["id"] for e in farm.executors() if e["state"] in states]


@pytest.mark.timeout(1800)
def test_a_film_and_packages_from_nothing_to_nothing_are_shown(folder: Path):
    shown("vmclone", folder)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_clone_that_dies_or_freezes_is_lost_and_its_work_done_once_more(farm: VmcloneDesk, blow: signal.Signals):
    script = "echo $FARM_ATTEMPT; [ ${FARM_ATTEMPT##*.} -gt 1 ] || sleep 600"
    job = farm("submit", "--", "sh", "-c", script).split()[1]
    eventually(lambda: farm("logs", job).strip(), farm.patience_s)
    (first,) = executors(farm, "ready")
    eventually(lambda: farm.processes("clone"))  # what has just begun is named a little later
    ((pid,),) = farm.processes("clone").values()
    os.kill(pid, blow)
    farm("wait", job)
    assert farm("logs", job).split()[-1] == f"{job}.1.2"
    assert executors(farm, "lost") == [first]
    assert len(farm.json("show", f"{job}.1")["attempts"]) == 2
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_no_two_clones_are_alike():
    made = template(1)
    with tempfile.TemporaryDirectory(prefix="fv-", dir="/tmp") as place, ExitStack() as held:
        drawn, facts = [], []
        for n in range(4):
            folder = Path(place, str(n))
            folder.mkdir()
            clone = start(made, f"order-{n}", folder)
            held.callback(clone.machine.end)
            clone.meet(60)
            peer = Peer(clone.machine.line.fileno(), {})
            threading.Thread(target=peer.serve, daemon=True).start()
            drawn.append(peer.call("drawn", within_s=30)[0])
            before = time.time_ns()
            peer.call("clock", time.time_ns(), within_s=30)
            facts.append(peer.call("facts", within_s=30)[0] | {"before": before, "after": time.time_ns()})
    for one, other in itertools.combinations(drawn, 2):
        assert not set(map(str, one.values())) & set(map(str, other.values()))
    assert [f["hostname"] for f in facts] == [f"order-{n}" for n in range(4)]
    assert len({f["machine_id"] for f in facts}) == 4
    assert all(f["before"] - 5e8 <= f["at"] <= f["after"] + 5e8 for f in facts)
    assert {f["sockets"] for f in facts} == {0}
    assert not commands_with(place)
