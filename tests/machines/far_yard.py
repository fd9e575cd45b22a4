"""Yards whose executors are machines elsewhere: they join the real API of a farm, over TLS, and are spoken with by
`sync`. Only who decides what they do is the suite (far_end.py)."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import insert

from executors.contract import Machine, Order, Provider, Surroundings
from executors.errors import Lost, SoldOut
from executors.site.cage import NO_CAGE, Cage
from farm import tables as t
from farm.auth import Kind, create_token
from farm.clock import SystemClock
from farm.context import open_farm, providers
from farm.home import Home
from farm.listening import opened
from farm.model import OrderState
from farm.server import Server
from tests.contract.ec2_cloud import CREDENTIALS
from tests.contract.yard import Yard, eventually, tickets
from tests.machines.bench import Bench
from tests.machines.desks.static import FETCH, USER_DATA
from tests.machines.ec2_shim import Instances
from tests.machines.far_end import FarEnd
from tests.machines.kubernetes_cluster import cluster, namespace
from tests.machines.netspace import entered
from tools.kubernetes import farm_images, place, space

TRIES = 5
IMAGE = "ami-00000000000000001"
SETTINGS = """\
[site]
engine = "{engine}"
outbound_lease = "5m"
[listen]
{listen}
[pools.far]
slots = 2
ceiling = 64
"""


class Api:
    """The real API of a farm, where machines reach it; nothing is scheduled there."""

    def __init__(self, home: Path, settings: str, network: Callable[[], AbstractContextManager[None]]) -> None:
        Home(home).make()
        Home(home).config_file.write_text(settings)
        with ExitStack() as stack:
            self.farm = open_farm(Home(home))
            stack.callback(self.farm.close)
            self.farm.home.make_run()
            with network():
                listener = opened(self.farm.home, self.farm.config.listen, None, SystemClock())
            assert listener is not None
            assert listener.tls is not None
            stack.callback(listener.close)
            self.farm.listener = listener
            self.provider = providers(self.farm)["far"]
            self.farm.wheel = SimpleNamespace(providers={"far": self.provider})
            server = Server(self.farm, listener.socket, listener.tls.context)
            stack.callback(server.stop)
            server.start()
            self._ends = stack.pop_all()

    def order(self, order: Order) -> None:
        """Written down as the farm's wheel does; who was never ordered is not admitted."""
        now = self.farm.clock.now()
        row = {"token": order.token, "pool": order.pool, "machines": order.count, "slots": order.slots, "why": "a test"}
        with self.farm.db.write() as tx:
            tx.execute(insert(t.Order).values(state=OrderState.OPEN, created=now, not_before=now, **row))

    def ticket(self) -> str:
        with self.farm.db.write() as tx:
            return create_token(tx, Kind.JOIN, self.farm.clock.now(), pool="far")[1]

    def close(self) -> None:
        self._ends.close()


class FarYard(Yard):
    """`settings` is the rest of farm.toml, the pool's; `listen` says there where machines reach the farm, and `network`
    is that network."""

    patience_s = 180.0
    noticed_s = 90.0

    def __init__(
        self, engine: str, settings: str, listen: str, network: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._settings = SETTINGS.format(engine=engine, listen=listen) + settings
        self._network, self._term = network, 0
        self._lasting: list[str] = []
        self._last: FarEnd | None = None
        super().__init__(engine, lambda _run: self._anew(), source=self._served)
        self.store = self.api.farm.store
        self.api.farm.sites = self.site

    def _served(self, _around: Surroundings) -> Provider:
        self.api = Api(self.home / "farm", self._settings, self._network)
        return self.api.provider

    def _anew(self) -> FarEnd:
        """The service is restarted: another term."""
        self._term += 1
        self._last = self.api.farm.sites = FarEnd(self._term, self._ended_ones, self._last)
        return self._last

    def _ended_ones(self) -> list[str]:
        return [machine.id for machine in self.provider.machines() if machine.ended_at]

    def executor(self, slots: int = 2) -> str:
        """Machines take their time to come: those that other tests have left well are taken again."""
        return next((on for on in self.site.idle(slots) if on not in self._lasting), "") or super().executor(slots)

    def lasting(self, slots: int) -> str:
        self._lasting.append(super().executor(slots))
        return self._lasting[-1]

    def launch(self, order: Order) -> Sequence[Machine]:
        order = Order(order.token, "far", order.count, order.slots)
        self.api.order(order)
        return self.bought(order)

    def bought(self, order: Order) -> Sequence[Machine]:
        """Asked again where no answer came, as the farm does."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(Lost):
                return self.provider.launch(order).machines
        return self.provider.launch(order).machines

    def touch(self, on: str, path: Path) -> None:
        self._orders += 1
        script = f"mkdir -p {path.parent} && touch {path}"
        assert self.result(on, self.work(f"900.{self._orders}.1", "sh", "-c", script)).exit == 0

    def process(self, executor: str) -> int:
        (found,) = (pid for pid, ticket in self._executors() if ticket["executor"] == executor)
        return found

    def _executors(self) -> Iterator[tuple[int, dict]]:
        """Of this farm alone, wherever on this host they are."""
        for pid, file in tickets():
            with contextlib.suppress(OSError, ValueError):
                ticket = json.loads(Path(f"/proc/{pid}/root{file}").read_text())
                if ticket["farm"] == self.api.farm.id:
                    yield pid, ticket

    def head(self, executor: str) -> tuple[str, str]:
        """Where its own Ray's head listens, and the file of the token, as this host sees it."""
        pid = self.process(executor)
        (run,) = (ticket["run"] for found, ticket in self._executors() if found == pid)
        folder = Path(f"/proc/{pid}/root{run}/ray")
        return f"127.0.0.1:{json.loads((folder / 'head.json').read_text())['port']}", str(folder / "token")

    def cage(self, executor: str) -> Cage:
        """As this host sees it, through the first process of its machine."""
        pid = self.process(executor)
        (ticket,) = (ticket for found, ticket in self._executors() if found == pid)
        try:
            inside = json.loads(Path(f"/proc/{pid}/root{ticket['folder']}/cage.json").read_text())
        except FileNotFoundError:
            return NO_CAGE
        root = f"/proc/{first_of(pid)}/root"
        return Cage(*(folder and root + folder for folder in inside))

    def commands_with(self, mark: str) -> list[str]:
        """In guests of this host: what runs on it is not ours."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if mark in words and self._is_ours(int(folder.name)):
                    found.append(words)
        return found

    def _is_ours(self, pid: int) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self.provider.terminate([machine.id for machine in self.provider.machines()])
        super().close()
        self.api.close()


def first_of(pid: int) -> int:
    """The first process of the namespace that this process is in."""
    there = os.readlink(f"/proc/{pid}/ns/pid")
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(folder / "ns/pid") == there and _number(folder) == 1:
                return int(folder.name)
    raise AssertionError(f"nobody is first where {pid} is")


def _number(folder: Path) -> int:
    """As it is counted in its own namespace."""
    lines = (folder / "status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))


class BenchYard(FarYard):
    """Its executors are machines of the bench, behind a router."""

    def __init__(self, engine: str, settings: str, bench: Bench, ends: ExitStack) -> None:
        self.bench, self._bench_ends = bench, ends
        listen = f'address = "{bench.address}:8443"\nurl = "https://{bench.name}:8443"'
        super().__init__(engine, settings, listen, bench.farm.entered)

    def _is_ours(self, pid: int) -> bool:
        """By the control groups of its machines: a task may be in a namespace of its own."""
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        return any(f"/{machine.group}" in groups for machine in self.bench.machines())

    def close(self) -> None:
        super().close()
        self._bench_ends.close()


class StaticYard(BenchYard):
    """Owned machines: another comes to stand by where none is free."""

    def __init__(self, engine: str) -> None:
        ends = ExitStack()
        super().__init__(engine, 'provider = "static"\n', ends.enter_context(Bench()), ends)

    def launch(self, order: Order) -> Sequence[Machine]:
        try:
            return super().launch(order)
        except SoldOut:
            self._another()
            return self.provider.launch(Order(order.token, "far", order.count, order.slots)).machines

    def _another(self) -> None:
        machine = self.bench.machine(f"ws-{self._orders}", "ray")
        listener = self.api.farm.listener
        assert listener is not None
        machine.put("/etc/farm/ca.pem", listener.ca())
        machine.put("/etc/farm/ticket", self.api.ticket(), 0o600)
        machine.put("/etc/farm/fetch.py", FETCH)
        machine.boot(USER_DATA.format(pool="far", slots=2, more=""))
        eventually(lambda: "stands by" in machine.console, self.patience_s)
        eventually(lambda: self._heard_of(machine.name), self.patience_s)

    def _heard_of(self, name: str) -> bool:
        here = self.provider.inner._here
        return any(machine.startswith(name) for machine in list(here))


class Ec2Yard(BenchYard):
    """Instances that moto sells, which really boot as machines of the bench."""

    def __init__(self, engine: str) -> None:
        ends = ExitStack()
        bench = ends.enter_context(Bench())
        cloud = Instances(bench, {IMAGE: engine}, near=True)  # without Ray where none is needed
        ends.callback(cloud.close)
        patch = pytest.MonkeyPatch()
        ends.callback(patch.undo)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        options = f'region = "eu-central-1"\ninstance_types = ["c7i.large"]\nendpoint_url = "{cloud.cloud.url}"\n'
        settings = f'provider = "ec2"\nimage = "{IMAGE}"\n[pools.far.options]\n{options}'
        super().__init__(engine, settings, bench, ends)


class PodYard(FarYard):
    """Pods of the real cluster."""

    def __init__(self, engine: str) -> None:
        self._cluster_ends = ends = ExitStack()
        ends.enter_context(cluster())
        there = ends.enter_context(namespace())
        farm_images.bring_executor()
        options = {"kubeconfig": place.kubeconfig(), "namespace": there.name, "image_pull_policy": "Never",
                   "cpu": "10m", "memory": "1Gi", "disk": "1Gi"}  # fmt: skip
        lines = "".join(f'{name} = "{value}"\n' for name, value in options.items())
        settings = f'provider = "kubernetes"\nimage = "{farm_images.EXECUTOR}"\n[pools.far.options]\n{lines}'
        network = lambda: entered(f"/proc/{space.first()}/ns/net")  # noqa: E731
        super().__init__(engine, settings, f'address = "{place.NODE_IP}:0"', network)

    def _is_ours(self, pid: int) -> bool:
        """It sees an invitation where pods have theirs."""
        return Path(f"/proc/{pid}/root/run/farm/invitation").exists()

    def close(self) -> None:
        super().close()
        self._cluster_ends.close()
