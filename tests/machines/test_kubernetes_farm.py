"""A farm whose executors are pods: nothing, then work, then nothing, with the same pixels and wheels as at home."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.workloads.render.pictures import pixels
from tests.contract.yard import eventually
from tests.journeys.shell import Shell
from tests.journeys.test_cli_work import BACKEND
from tests.machines.kubernetes_cluster import Namespace, cluster, inside, namespace
from tools.kubernetes import farm_images, place

pytestmark = pytest.mark.timeout(1800)  # the first time all is built
LISTEN = f"{place.NODE_IP}:8443"
SETTINGS = """\
[listen]
address = "{listen}"
[pools.pods]
provider = "kubernetes"
image = "{image}"
slots = 1
ceiling = 2
boot = "60s"
idle = "2s"
price_per_hour = 0.36
[pools.pods.options]
kubeconfig = "{kubeconfig}"
namespace = "{namespace}"
image_pull_policy = "{policy}"
cpu = "100m"
memory = "1Gi"
disk = "1Gi"
"""
HOME_SETTINGS = '[pools.local]\nprovider = "local"\nslots = 1\nceiling = 2\n'
SCENE = """#version 3.7;
camera {{ location <0, 1, -4> look_at 0 }}
light_source {{ <5, 5, -5> rgb 1 }}
sphere {{ clock*y, 1 pigment {{ rgb <1, clock, {blue}> }} }}
"""


class Desk(Shell):
    """A person beside a farm that sits in the cluster's network."""

    def start(self, *words: str, **options) -> subprocess.Popen:
        if words[0] == "up":
            line = inside(sys.executable, "-m", "farm", *words)
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
            return subprocess.Popen(line, cwd=self.cwd, env=self.env, start_new_session=True, **pipes)
        return super().start(*words, **options)


@pytest.fixture(scope="module")
def there() -> Iterator[Namespace]:
    with cluster(), namespace() as made:
        farm_images.bring_executor()
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fk-", dir="/tmp") as made:
        yield Path(made)


def desk(folder: Path, there: Namespace, image: str = farm_images.EXECUTOR) -> Desk:
    home = folder / "home"
    home.mkdir()
    text = SETTINGS.format(
        listen=LISTEN,
        image=image,
        kubeconfig=place.kubeconfig(inside=True),
        namespace=there.name,
        policy="Never",
    )
    (home / "farm.toml").write_text(text)
    return Desk(home, folder)


@pytest.fixture
def farm(folder: Path, there: Namespace) -> Iterator[Desk]:
    made = desk(folder, there)
    made("up")
    yield made
    made("down", "--terminate")
    eventually(lambda: not there.left())


def at_home(folder: Path) -> Shell:
    """The same commands on this machine alone."""
    home = folder / "local"
    home.mkdir()
    (home / "farm.toml").write_text(HOME_SETTINGS)
    return Shell(home, folder)


def test_a_film_from_nothing_to_nothing(farm: Desk, folder: Path, there: Namespace):
    assert not there.left()
    (folder / "scene.pov").write_text(SCENE.format(blue=0.5))
    words = ("render", str(folder / "scene.pov"), "--frames", "1-12", "--chunk", "2", "--size", "48x27")
    farm(*words, "--out", str(folder / "pods"))
    at_home(folder)(*words, "--out", str(folder / "here"))
    here, pods = (sorted((folder / name).rglob("*.png")) for name in ("here", "pods"))
    assert [f.name for f in pods] == [f.name for f in here]
    assert len(pods) == 12
    assert [pixels(f) for f in pods] == [pixels(f) for f in here]

    eventually(lambda: not there.left(), within=90)
    eventually(lambda: not [e for e in farm.json("executors")["executors"] if e["state"] not in ("gone", "lost")])
    (row,) = farm.json("report", "cost", "--by", "pool")["rows"]
    assert row["key"] == "pods"
    assert row["boot_s"] > 0
    assert row["busy_s"] > 0
    assert float(row["cost"]) > 0
    assert farm.json("database", "check")


def test_a_graph_of_packages_gives_the_same_wheels(farm: Desk, folder: Path):
    work = packages(folder / "work")
    here = at_home(folder)
    for shell in (farm, here):
        shell("rebuild", str(work), "--wait")
    assert wheels(farm.home) == wheels(here.home)
    assert set(wheels(farm.home)) == {"base-1-py3-none-any.whl", "leaf-1-py3-none-any.whl"}


def packages(work: Path) -> Path:
    """Two packages in git, one of which is built with the other."""
    for name, needs in (("base", []), ("leaf", ["base"])):
        (work / name).mkdir(parents=True)
        (work / name / "own.py").write_text(BACKEND % {"name": name})
        text = f'[build-system]\nrequires={needs}\nbuild-backend="own"\nbackend-path=["."]\n'
        (work / name / "pyproject.toml").write_text(f'{text}[project]\nname="{name}"\nversion="1"\n')
        (work / name / f"{name}.py").write_text("x = 1\n")
    git = ["git", "-C", str(work), "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *words], check=True)
    return work


def wheels(home: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (home / "index").rglob("*.whl")}


def test_an_image_that_is_not_there_is_told_and_does_not_cost(folder: Path, there: Namespace):
    farm = desk(folder, there, "localhost/never-made:1")
    farm("up")
    try:
        farm("submit", "--", "true")
        eventually(lambda: "image is not on the node" in farm("why", "pods"), within=90)
        eventually(lambda: not there.pods())
    finally:
        farm("down", "--terminate")


def test_a_pod_that_is_deleted_costs_its_work_nothing(farm: Desk, there: Namespace):
    script = "case $FARM_ATTEMPT in *1) sleep 300;; esac; echo done"
    job = json.loads(farm("submit", "--json", "--", "sh", "-c", script))["id"]
    eventually(lambda: farm.json("show", str(job))["state"] == "running", within=90)
    (busy,) = [e["id"] for e in farm.json("executors")["executors"] if e["busy"]]
    (pod,) = [p["metadata"]["name"] for p in there.pods() if p["metadata"]["labels"]["elastic-farm/executor"] == busy]
    there.call("DELETE", f"pods/{pod}", {"gracePeriodSeconds": 0})
    farm("wait", str(job))
    states = {e["id"]: e["state"] for e in farm.json("executors", "--all")["executors"]}
    assert states[busy] in (
        "lost",
        "gone",
    )  # who tells first: the cluster, or the executor itself, which was told to go
    assert farm.json("show", f"{job}.1")["state"] == "done"
