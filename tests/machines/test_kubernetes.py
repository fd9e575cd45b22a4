"""Pods on a real cluster: the provider's contract, and what a cluster does beyond it."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from executors import kubernetes
from executors.contract import Machine, MachineState, Order, Provider, Surroundings
from executors.errors import Lost, Refused, SoldOut
from executors.invitation import Invitation
from executors.kubernetes.pod import Identity
from tests.contract.provider_suite import ProviderSuite
from tests.contract.yard import eventually
from tests.machines.kubernetes_cluster import CHECKOUT, SHELL, Namespace, account, cluster, namespace
from tools.kubernetes import place, space

pytestmark = pytest.mark.timeout(1800)  # the first time all is built
SECRET = "hush-hush-hush"
WAITS = ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"]


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture(scope="module")
def there(_cluster: None) -> Iterator[Namespace]:
    with namespace() as made:
        yield made


def invite(executor: str, slots: int) -> Invitation:
    return Invitation("https://farm.invalid", "", "f1", "pool", executor, slots, SECRET, 600)


class Pool:
    """A pool of small pods; its provider can be made anew."""

    def __init__(self, there: Namespace, home: Path, image: str = SHELL, farm: str = "") -> None:
        self.there = there
        farm, self.image = farm or secrets.token_hex(4), image
        self.around = Surroundings(
            farm, "pool", str(home), str(home), str(home), "plain", timedelta(seconds=60), invite, image
        )

    def make(self, **options) -> Provider:
        common = {
            "kubeconfig": str(place.kubeconfig()),
            "namespace": self.there.name,
            "image_pull_policy": "Never",
            "cpu": "10m",
            "memory": "64Mi",
            "disk": "200Mi",
            "grace_s": 1,
            "command": WAITS,
        }
        return kubernetes.provider(common | options, self.around)

    def name(self, executor: str) -> str:
        return Identity(self.around.farm, self.around.pool).name(executor)

    def kill(self, executor: str) -> None:
        """Behind the provider's back."""
        self.there.call("DELETE", f"pods/{self.name(executor)}", {"gracePeriodSeconds": 0})

    def left(self) -> list[str]:
        """What of it is in the namespace."""
        return [name for name in self.there.left() if name.partition("/")[2].startswith(self.name(""))]


@pytest.fixture
def pool(there: Namespace, tmp_path: Path) -> Iterator[Pool]:
    made = Pool(there, tmp_path)
    yield made
    last = made.make()
    last.terminate([m.id for m in last.machines()])


class TestContract(ProviderSuite):
    """The same as for every other provider."""

    @pytest.fixture(autouse=True)
    def _here(self, pool: Pool):
        self.pool = pool

    def make(self) -> Provider:
        return self.pool.make(ceiling=self.ceiling)

    def break_down(self, machine: str) -> None:
        self.pool.kill(machine)


def ended(provider: Provider, machine: Machine) -> Machine:
    """The machine as it is listed when it has ended by itself."""

    def look() -> list[Machine]:
        return [m for m in provider.machines() if m.id == machine.id and m.state is MachineState.ENDED]

    return eventually(look)[0]


def launched(provider: Provider, token: str = "a", count: int = 1) -> tuple[Machine, ...]:
    return provider.launch(Order(token, "pool", count, 1)).machines


def running(provider: Provider, machine: Machine) -> bool:
    return [m.state for m in provider.machines() if m.id == machine.id] == [MachineState.RUNNING]


def test_what_was_bought_is_known_by_its_name_when_the_books_are_lost(pool: Pool, tmp_path: Path):
    bought = launched(pool.make(), count=2)
    for page in (tmp_path / "pods").iterdir():
        page.unlink()
    assert {m.id for m in launched(pool.make(), count=2)} == {m.id for m in bought}
    assert len(pool.make().machines()) == 2


def test_another_farms_pod_of_the_same_name_is_not_ours(pool: Pool):
    (one,) = launched(pool.make())
    pod = pool.there.call("GET", f"pods/{pool.name(one.id)}")
    stranger = {"metadata": {"name": pool.name("b-1")}}
    plain = {k: v for k, v in pod["spec"].items() if k not in ("nodeName", "volumes", "tolerations")}
    containers = [{k: v for k, v in c.items() if k != "volumeMounts"} for c in plain["containers"]]
    pool.there.call("POST", "pods", stranger | {"spec": plain | {"containers": containers}})
    with pytest.raises(Refused, match="already, and it is not this farm's"):
        launched(pool.make(), "b")
    assert [m.id for m in pool.make().machines()] == [one.id]


def test_two_farms_in_one_namespace_do_not_see_each_other(pool: Pool, tmp_path: Path):
    other = Pool(pool.there, tmp_path / "other")
    (one,), (two,) = launched(pool.make()), launched(other.make())
    assert one.id == two.id == "a-1"
    other.make().terminate(["a-1"])
    assert [m.state for m in pool.make().machines()] != [MachineState.ENDED]


def test_a_quota_sells_out(pool: Pool):
    with namespace() as small:
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
        small.call("POST", "resourcequotas", quota)
        eventually(lambda: small.call("GET", "resourcequotas/q").get("status", {}).get("hard"))
        provider = Pool(small, Path(pool.around.home, "small")).make()
        placed = provider.launch(Order("a", "pool", 2, 1))
        assert len(placed.machines) == 1
        assert [type(r.error) for r in placed.refused] == [SoldOut]
        assert "exceeded quota: q" in str(placed.refused[0].error)
        with pytest.raises(SoldOut):
            launched(provider, "b")


def test_no_rights_are_a_matter_for_a_person(pool: Pool):
    weak = pool.make(kubeconfig=str(account(pool.there, "weak")))
    with pytest.raises(Refused, match="forbidden"):
        launched(weak)
    with pytest.raises(Refused, match="forbidden"):
        weak.machines()


def test_a_namespace_that_is_not_there_is_told(pool: Pool):
    with pytest.raises(Refused, match='namespaces "nowhere" not found'):
        launched(pool.make(namespace="nowhere"))


def test_a_cluster_that_is_not_there_is_lost(pool: Pool, tmp_path: Path):
    config = place.kubeconfig().read_text().replace(str(place.API_PORT), "9")
    (tmp_path / "config").write_text(config)
    with pytest.raises(Lost, match="the cluster does not answer"):
        pool.make(kubeconfig=str(tmp_path / "config")).machines()
    with pytest.raises(Refused, match="there is no way to a cluster"):
        pool.make(kubeconfig=str(tmp_path / "none")).machines()


def test_an_image_that_is_not_there_ends_the_machine_with_its_reason(there: Namespace, tmp_path: Path):
    pool = Pool(there, tmp_path, image="localhost/never-made:1")
    provider = pool.make()
    (one,) = launched(provider)
    assert list(provider.vanished(timedelta(seconds=60))) == [one.id]
    assert "image is not on the node" in ended(provider, one).error
    eventually(lambda: not pool.left())
    provider.close()


def test_too_large_a_pod_is_waited_for_and_then_given_up(pool: Pool):
    provider = pool.make(cpu="64", unschedulable_s=2)
    (one,) = launched(provider)
    assert one.state is MachineState.BOOTING
    assert "no node has room for it: 0/1 nodes are available" in ended(provider, one).error


def test_a_program_that_fails_is_told_with_its_last_line(pool: Pool):
    provider = pool.make(command=["sh", "-c", "(echo first; echo 'the last straw') >&2; exit 7"])
    (one,) = launched(provider)
    assert ended(provider, one).error == "its program ended with exit status 7: the last straw"


def test_memory_over_the_limit_is_told(pool: Pool):
    hungry = "sleep 1; x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"
    provider = pool.make(command=["sh", "-c", hungry], memory="16Mi")
    (one,) = launched(provider)
    assert "memory than the pool's limit" in ended(provider, one).error


def test_an_eviction_is_told(pool: Pool):
    provider = pool.make()
    (one,) = launched(provider)
    eventually(lambda: running(provider, one))
    name = pool.name(one.id)
    said = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    provider.vanished(timedelta(0))  # begins to watch
    pool.there.call("POST", f"pods/{name}/eviction", said)
    assert list(provider.vanished(timedelta(seconds=60))) == [one.id]
    assert ended(provider, one).error.startswith("it was evicted")
    provider.close()


def test_its_invitation_is_a_file_for_it_alone(pool: Pool):
    looks = (
        "set -eu; grep -q %s /run/farm/invitation; grep -q /v1/join /run/farm/start; ! env | grep -q %s;"
        "! tr '\\0' ' ' < /proc/1/environ | grep -q %s; ! touch /run/farm/x 2>/dev/null; ! touch /x 2>/dev/null;"
        "touch /tmp/x; [ ! -e /var/run/secrets/kubernetes.io ]; [ $(id -u) = 1000 ];"
        "ls -lL /run/farm/invitation | grep -q '^-r--r-----'"
    )
    hidden = SECRET[:5] + "[" + SECRET[5] + "]" + SECRET[6:]  # a pattern that does not find itself
    provider = pool.make(command=["sh", "-c", looks % (hidden, hidden, hidden)])
    (one,) = launched(provider)
    assert ended(provider, one).error == ""
    assert SECRET not in str(pool.there.pods())


def test_a_secret_goes_with_its_pod(pool: Pool):
    provider = pool.make()
    (one,) = launched(provider)
    assert {name.partition("/")[0] for name in pool.left()} == {"pods", "secrets"}
    provider.terminate([one.id])
    eventually(lambda: not pool.left())


def test_who_owns_the_pods_takes_them_along(pool: Pool):
    template = {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "c", "image": SHELL}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"x": "y"}}, "template": template}
    pool.there.apply("apps/v1", "deployments", {"metadata": {"name": "owner"}, "spec": spec})
    provider = pool.make(owner="Deployment/owner")
    (one,) = launched(provider)
    pool.there.call("DELETE", f"/apis/apps/v1/namespaces/{pool.there.name}/deployments/owner")
    assert ended(provider, one).error == "its pod was deleted"
    eventually(lambda: not pool.left())
    with pytest.raises(Refused, match="the owner Deployment/owner is not there"):
        launched(pool.make(owner="Deployment/owner"), "b")


def test_all_is_seen_though_nobody_watched(pool: Pool):
    one, two = launched(pool.make(), count=2)
    pool.kill(one.id)
    again = {m.id: m for m in pool.make().machines()}
    assert (again[one.id].state, again[one.id].error) == (MachineState.ENDED, "its pod was deleted")
    assert again[two.id].state is not MachineState.ENDED


def test_the_server_takes_the_pod_without_a_warning(pool: Pool):
    """Strict validation of every field, which the provider does not ask for."""
    from executors.kubernetes.options import KubernetesOptions
    from executors.kubernetes.pod import pod

    asked = pod("v-1", Order("v", "pool", 1, 1), KubernetesOptions(memory="64Mi"), pool.around, None)
    api, name = pool.there.api, pool.there.name
    query = {"fieldValidation": "Strict", "dryRun": "All"}
    answer = api._request("POST", f"/api/v1/namespaces/{name}/pods", query, asked, 20)
    assert answer.headers.get("Warning") is None


@pytest.fixture
def server() -> Iterator[int]:
    """Process id of the API server; it is well again afterwards."""
    pid = space.noted("kube-apiserver")
    assert pid is not None
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    subprocess.run([sys.executable, "-m", "tools.kubernetes", "up"], cwd=CHECKOUT, check=True)


def test_a_frozen_server_holds_nobody_for_long(pool: Pool, server: int):
    provider = pool.make()
    (one,) = launched(provider)
    provider.vanished(timedelta(0))  # begins to watch
    os.kill(server, signal.SIGSTOP)
    with pytest.raises(Lost, match="the cluster does not answer"):
        provider.machines()
    os.kill(server, signal.SIGCONT)
    eventually(lambda: running(provider, one))
    pool.kill(one.id)
    assert list(provider.vanished(timedelta(seconds=90))) == [one.id]
    provider.close()


def test_a_server_that_was_restarted_is_listened_to_again(pool: Pool, server: int):
    provider = pool.make()
    (one,) = launched(provider)
    eventually(lambda: running(provider, one))
    provider.vanished(timedelta(0))
    os.kill(server, signal.SIGKILL)
    with pytest.raises(Lost):
        launched(provider, "b")
    subprocess.run([sys.executable, "-m", "tools.kubernetes", "up"], cwd=CHECKOUT, check=True)
    pool.kill(one.id)
    assert list(provider.vanished(timedelta(seconds=90))) == [one.id]
    assert len(launched(provider, "b")) == 1
    provider.close()
