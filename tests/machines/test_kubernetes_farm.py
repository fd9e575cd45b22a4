"""A farm whose executors are pods: nothing, then work, then nothing, with the same pixels and wheels as at home."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.machines.demonstration import shown
from tests.machines.desks.desk import ENDED
from tests.machines.desks.kubernetes import KubernetesDesk
from tests.machines.kubernetes_cluster import Namespace, cluster, namespace
from tools.kubernetes import farm_images

pytestmark = pytest.mark.timeout(1800)  # the first time all is built


@pytest.fixture(scope="module")
def there() -> Iterator[Namespace]:
    with cluster(), namespace() as made:
        farm_images.bring_executor()
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fk-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def farm(folder: Path, there: Namespace) -> Iterator[KubernetesDesk]:
    with KubernetesDesk(there, folder) as made:
        yield made
    eventually(lambda: not there.left())


def test_a_film_and_packages_from_nothing_to_nothing_are_shown(there: Namespace, folder: Path):
    shown("kubernetes", folder)


def test_an_image_that_is_not_there_is_told_and_does_not_cost(folder: Path, there: Namespace):
    with KubernetesDesk(there, folder, image="localhost/never-made:1") as farm:
        farm("submit", "--", "true")
        eventually(lambda: "image is not on the node" in farm("why", "pods"), within=90)
        eventually(lambda: not there.pods())


def test_a_pod_that_is_deleted_costs_its_work_nothing(farm: KubernetesDesk):
    job = farm.submit("--", "sh", "-c", "case $FARM_ATTEMPT in *1) sleep 300;; esac; echo done")
    eventually(lambda: farm.json("show", str(job))["state"] == "running", within=90)
    (busy,) = [e["id"] for e in farm.executors() if e["busy"]]
    farm.machines()[busy].kill()
    farm("wait", str(job))
    # Who tells first: the cluster, or the executor itself, which was told to go.
    assert {e["id"]: e["state"] for e in farm.executors()}[busy] in ENDED
    assert farm.json("show", f"{job}.1")["state"] == "done"
