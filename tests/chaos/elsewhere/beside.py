"""Executors on this machine: processes, and clones of a virtual machine. Their disk is a small one."""

import contextlib
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.chaos.disk import may_mount, mount, unmount
from tests.chaos.elsewhere.faults import (
    SERVICE,
    Maker,
    freeze_machine,
    full,
    kill_machine,
    pulses,
    role,
)
from tests.chaos.elsewhere.run import Outcome, looked_at, story
from tests.chaos.elsewhere.scene import Scene, Standing, settle
from tests.machines.desks.desk import Desk
from tests.machines.desks.local import LocalDesk
from tests.machines.desks.vmclone import VmcloneDesk


def ballast(scene: Scene) -> Mapping[str, Path]:
    place = scene.desk.home / "pools"
    return {"": place / "ballast"} if os.path.ismount(place) else {}


@contextlib.contextmanager
def small_disk(place: Path, mib: int) -> Iterator[None]:
    """A tmpfs, where one may be mounted."""
    place.mkdir(mode=0o700)
    mounted = may_mount()
    if mounted:
        mount("-t", "tmpfs", "-o", f"size={mib}m,mode=700", "farm-chaos", str(place))
    try:
        yield
    finally:
        if mounted:
            unmount(place)


COMMON: tuple[Maker, ...] = (
    kill_machine,
    freeze_machine,
    pulses,
    full(ballast, 200 << 20),
    role("freeze", "gateway"),
    *SERVICE,
)
LOCAL = (*COMMON, role("kill", "gateway", "executor", "agent", "keeper", "task"))
CLONES = (*COMMON, role("kill", "gateway", "executor", "agent"))


class Asks(Desk):
    """It asks the farm itself what runs: a command each time would be slow."""

    def processes(self, *roles: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for one in Standing(self).named():
            if one["executor"] and one["role"] in roles:
                found.setdefault(one["executor"], []).append(one["pid"])
        return found


class Local(Asks, LocalDesk):
    """Processes."""


class Clones(Asks, VmcloneDesk):
    """Clones."""


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


def local(_world: None, folder: Path, choose: random.Random, outcome: Outcome) -> None:
    desk = Local(folder, slots=choose.choice([1, 2]), ceiling=4, lease=f"{outcome.lease_s:g}s")
    _run(desk, LOCAL, 48, choose, outcome)


def vmclone(_world: None, folder: Path, choose: random.Random, outcome: Outcome) -> None:
    slots = choose.choice([1, 2])
    _run(Clones(folder, slots=1, ceiling=1 + slots, lease=f"{outcome.lease_s:g}s"), CLONES, 160, choose, outcome)


def _run(desk: Desk, makers: tuple[Maker, ...], mib: int, choose: random.Random, outcome: Outcome) -> None:
    settle(desk, outcome.engine, price_per_hour='"0.777777777"')
    with small_disk(desk.home / "pools", mib):
        scene = Scene(desk, desk.cwd, outcome.lease_s)
        try:
            with desk:
                story(scene, makers, choose, outcome)
            outcome.findings += looked_at(scene)
        finally:
            scene.ground.clear()
