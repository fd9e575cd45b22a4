"""A farm whose executors are pods: nothing, then work, then nothing, with the same pixels and wheels as at home."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.machines.desks.desk import ENDED
from tests.machines.desks.kubernetes import KubernetesDesk
from tests.machines.kubernetes_cluster import Namespace, cluster, namespace
from tests.machines.same_work import FRAMES, at_home, film, packages, wheels
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


def test_a_film_from_nothing_to_nothing(farm: KubernetesDesk, folder: Path):
    assert not farm.left()
    pods = film(farm, folder, "pods")
    assert len(pods) == FRAMES
    assert pods == film(at_home(folder), folder, "here")
    farm.until_nothing_is_left()
    (row,) = farm.json("report", "cost", "--by", "pool")["rows"]
    assert row["key"] == "pods"
    assert row["boot_s"] > 0
    assert row["busy_s"] > 0
    assert float(row["cost"]) > 0
    assert farm.json("database", "check")


def test_a_graph_of_packages_gives_the_same_wheels(farm: KubernetesDesk, folder: Path):
    work = packages(folder / "work")
    here = at_home(folder)
    for shell in (farm, here):
        shell("rebuild", str(work), "--wait")
    assert wheels(farm.home) == wheels(here.home)
    assert set(wheels(farm.home)) == {"base-1-py3-none-any.whl", "leaf-1-py3-none-any.whl"}


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
