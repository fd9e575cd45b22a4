"""Machines of the bench: owned ones that stand by, and EC2 instances. Their executors write on a small disk."""

import base64
import contextlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.chaos.elsewhere.faults import (
    HOUR,
    SERVICE,
    Act,
    Maker,
    cut,
    freeze_machine,
    full,
    kill_machine,
    kill_process,
    slow,
    wait,
)
from tests.chaos.elsewhere.run import Outcome, looked_at, story
from tests.chaos.elsewhere.scene import Scene, settle
from tests.contract.ec2_cloud import Call
from tests.machines.bench import Bench
from tests.machines.desks.ec2 import IMAGES, Ec2Desk
from tests.machines.desks.static import StaticDesk, quiet
from tests.machines.ec2_shim import Instances
from tests.machines.machine import Machine

SMALL = "mount -t tmpfs -o mode=1777,size=288m tmpfs /var/tmp\n"
WRONG = """\
site=$(python3 -c 'import site; print(site.getsitepackages()[0])')
mkdir -p "$site"
cat >"$site/clock.pth" <<'END'
import time; time.time = (lambda t: lambda: t() + {off})(time.time)
import time; time.time_ns = (lambda t: lambda: t() + {off} * 10**9)(time.time_ns)
END
"""
BALLAST = "/var/tmp/ballast"
COMMON: tuple[Maker, ...] = (
    freeze_machine,
    cut,
    slow,
    kill_process("site.executor", "site.gateway", "site.agent", ""),
    *SERVICE,
)


def prelude(choose: random.Random, outcome: Outcome) -> str:
    """What each machine of this run does first: its small disk; in one run of four its clock is an hour off."""
    off = choose.choice([0, 0, 0, 0, 0, 0, HOUR, -HOUR])
    if off:
        outcome.terrain = f"machines whose clock is off by {off:+} s"
    return SMALL + (WRONG.format(off=off) if off else "")


def ballast(scene: Scene) -> Mapping[str, Path]:
    found = {}
    for name, machine in scene.desk.machines().items():
        with contextlib.suppress(OSError):
            found[name] = machine.path(BALLAST)  # type: ignore[attr-defined]
    return found


def gone(machines: list[Machine]) -> list[str]:
    """What is left of machines that were taken away."""
    for machine in machines:
        machine.close()
    names = [machine._folder.name for machine in machines]
    places = [*Path("/var/tmp").iterdir(), *Path("/sys/fs/cgroup").glob("**/farm-bench/*")]
    return [str(place) for place in places if place.name in names]


# ── owned machines ──


class Owned(StaticDesk):
    """Who stands by is started again when it ends, as a unit of systemd would."""

    prelude = ""

    def user_data(self, pool: str = "desks", more: str = "") -> str:
        first, rest = super().user_data(pool, more).split("\n", 1)
        return f"{first}\n{self.prelude}{rest.replace('exec python3 -IS', 'while :; do python3 -IS')}sleep 1; done\n"


def power(choose: random.Random) -> Act:
    """The power of a machine fails, and comes back."""
    which, seconds = choose.random(), choose.uniform(0, 8)

    def act(scene: Scene) -> None:
        machine = scene.one(which)
        if isinstance(machine, Machine) and isinstance(scene.desk, Owned):
            machine.kill()
            wait(seconds)
            machine.boot(scene.desk.user_data())

    return f"kill machine, on again {seconds:.1f} s later", act


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def static(ground: Bench, folder: Path, choose: random.Random, outcome: Outcome) -> None:
    slots = choose.choice([1, 2])
    desk = Owned(ground, folder, slots=slots, ceiling=4, lease=f"{outcome.lease_s:g}s")
    desk.prelude = prelude(choose, outcome)
    settle(desk, outcome.engine, price_per_hour='"0.777777777"')
    scene = Scene(desk, folder, outcome.lease_s, lambda: gone(desk.owns))
    try:
        with desk:
            for n in range(choose.choice([2, 3])):
                desk.owned(f"ws-{n}", outcome.engine)  # images are called as what is needed
            story(scene, (power, full(ballast, 300 << 20), *COMMON), choose, outcome)
            outcome.findings += [f"left: {m.name} is not as it was" for m in desk.owns if m.alive and not quiet(m)]
            _keep(folder, desk.owns)
        outcome.findings += looked_at(scene)
    finally:
        gone(desk.owns)
        scene.ground.clear()


def _keep(folder: Path, machines: list[Machine]) -> None:
    for machine in machines:
        with contextlib.suppress(OSError):
            (folder / f"console-{machine.name}").write_text(machine.console)


# ── EC2 ──


class Bought(Instances):
    """Its machines do something else first."""

    prelude = ""

    def _run(self, instance: str, call: Call) -> None:
        first, rest = base64.b64decode(call["UserData"]).decode().split("\n", 1)
        data = f"{first}\n{self.prelude}{rest}"
        super()._run(instance, {**call, "UserData": base64.b64encode(data.encode()).decode()})


def bad_cloud(choose: random.Random) -> Act:
    """The next calls are throttled or lost, a sale's answer is lost, one type is sold out for a while."""
    words = ["RunInstances", "DescribeInstances", "TerminateInstances"]
    met = [(choose.choice(words), choose.choice(["lost", "RequestLimitExceeded"])) for _ in range(choose.randint(1, 3))]
    sale, seconds = choose.random() < 0.5, choose.uniform(1, 6)

    def act(scene: Scene) -> None:
        assert isinstance(scene.desk, Ec2Desk)
        cloud = scene.desk.instances.cloud
        cloud.faults.extend(met)
        cloud.lose_sale = sale
        cloud.sold_out = {"c7i.large"}
        wait(seconds)
        cloud.faults.clear()
        cloud.lose_sale = False
        cloud.sold_out = set()

    return f"the cloud loses and throttles calls {seconds:.1f} s", act


@contextlib.contextmanager
def cloud() -> Iterator[Bought]:
    with Bench() as ground:
        made = Bought(ground, IMAGES)
        try:
            yield made
        finally:
            made.close()


def ec2(instances: Bought, folder: Path, choose: random.Random, outcome: Outcome) -> None:
    slots = choose.choice([1, 2])
    desk = Ec2Desk(instances, folder, slots=slots, ceiling=slots * choose.choice([2, 3]), lease=f"{outcome.lease_s:g}s")
    instances.prelude = prelude(choose, outcome)
    settle(desk, outcome.engine, price_per_hour='"0.777777777"')
    scene = Scene(desk, folder, outcome.lease_s, lambda: [*map(str, desk.left()), *gone(_machines(instances))])
    try:
        with desk:
            story(scene, (kill_machine, bad_cloud, full(ballast, 300 << 20), *COMMON), choose, outcome)
            _keep(folder, _machines(instances))
        outcome.findings += looked_at(scene)
    finally:
        gone(_machines(instances))
        instances._machines.clear()
        scene.ground.clear()


def _machines(instances: Instances) -> list[Machine]:
    return list(instances._machines.values())
