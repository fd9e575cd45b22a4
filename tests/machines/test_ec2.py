"""A farm whose executors are EC2 instances: nothing, then work, then nothing, with the same pixels and wheels."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.contract.ec2_cloud import CREDENTIALS
from tests.contract.yard import eventually
from tests.journeys.shell import Shell
from tests.machines.bench import Bench
from tests.machines.ec2_shim import Instances
from tests.machines.same_work import FRAMES, at_home, film, packages, wheels

READY, BARE = "ami-00000000000000001", "ami-00000000000000002"
SETTINGS = """\
[listen]
address = "{address}:8443"
url = "https://{name}:8443"
[pools.cloud]
provider = "ec2"
image = "{image}"
slots = 1
ceiling = 2
boot = "10s"
idle = "2s"
price_per_hour = 0.36
{setup}
[pools.cloud.options]
region = "eu-central-1"
instance_types = ["c7i.large", "c6i.large"]
endpoint_url = "{url}"
"""
PATIENCE_S = 120
SET_UP_S = 400  # Ray is installed by pip, and packages by apt


class Desk(Shell):
    """A person beside a farm that sits in the bench's network."""

    def __init__(self, bench: Bench, instances: Instances, folder: Path, image: str = READY, setup: str = "") -> None:
        home = folder / "home"
        home.mkdir()
        super().__init__(home, folder)
        self.env |= CREDENTIALS
        self._bench, self.instances = bench, instances
        text = SETTINGS.format(
            address=bench.address, name=bench.name, url=instances.cloud.url, image=image, setup=setup
        )
        (home / "farm.toml").write_text(text)

    def start(self, *words: str, env=None, **options) -> subprocess.Popen:
        if words[0] != "up":
            return super().start(*words, env=env, **options)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        line = [sys.executable, "-m", "farm", *words]
        return self._bench.farm.popen(line, cwd=self.cwd, env=self.env, start_new_session=True, **pipes)

    def until_nothing_is_left(self) -> None:
        eventually(lambda: not self.instances.cloud.living() and not self.instances.on(), PATIENCE_S)
        eventually(lambda: all(e["state"] in ("gone", "lost") for e in self.executors()), PATIENCE_S)

    @property
    def books(self) -> Path:
        return self.home / "pools/cloud/ec2"

    def instance(self, executor: str) -> str:
        return json.loads((self.books / f"{executor}.json").read_text())["instance"]

    def executors(self) -> list[dict]:
        return self.json("executors", "--all")["executors"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fe-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def instances(bench: Bench) -> Iterator[Instances]:
    made = Instances(bench, {READY: "povray", BARE: "plain"})
    yield made
    made.close()


@pytest.fixture
def farm(bench: Bench, instances: Instances, folder: Path) -> Iterator[Desk]:
    desk = Desk(bench, instances, folder)
    desk("up")
    yield desk
    desk("down", "--terminate")


def test_a_film_from_nothing_to_nothing(farm: Desk, folder: Path):
    assert farm.instances.cloud.living() == []
    cloud = film(farm, folder, "cloud")
    assert len(cloud) == FRAMES
    assert cloud == film(at_home(folder), folder, "here")
    farm.until_nothing_is_left()
    assert farm.json("database", "check")["findings"] == []
    _the_bill_is_complete(farm)


def _the_bill_is_complete(farm: Desk) -> None:
    """Every machine from its purchase to its end, as EC2 says; its times are whole seconds."""
    (row,) = farm.json("report", "usage", "--by", "pool")["rows"]
    assert (row["key"], min(row["boot_s"], row["busy_s"]) > 0) == ("cloud", True)
    pages = [json.loads(page.read_text()) for page in farm.books.glob("*.json")]
    lived = sum(_seconds(page["launched_at"], page["ended_at"]) for page in pages)
    billed = sum(row[kind] for kind in ("boot_s", "busy_s", "idle_s", "drain_s"))
    assert billed == pytest.approx(lived, abs=2 * len(pages))
    assert float(row["cost"]) == pytest.approx(billed * 0.36 / 3600, abs=0.01)


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def test_an_instance_whose_host_fails_costs_its_work_nothing(farm: Desk):
    farm("submit", "--", "sh", "-c", "[ ${FARM_ATTEMPT##*.} -gt 1 ] || sleep 300; echo done")
    eventually(lambda: farm.json("show", "1")["state"] == "running", PATIENCE_S)
    (at_work,) = eventually(lambda: [e["id"] for e in farm.executors() if e["busy"]])
    farm.instances.fail(farm.instance(at_work))
    farm("wait", "1")
    assert [e["id"] for e in farm.executors() if e["state"] == "lost"] == [at_work]


@pytest.mark.timeout(900)
def test_a_bare_image_is_set_up_first(bench: Bench, instances: Instances, folder: Path):
    """It gets its Ray with pip, which is also what builds packages; POV-Ray comes by the pool's script."""
    setup = 'setup = "#!/bin/sh\\napt-get -q update && apt-get -q install -y povray"'
    farm, here, work = Desk(bench, instances, folder, BARE, setup), at_home(folder), packages(folder / "work")
    farm("up")
    try:
        farm("rebuild", str(work))
        here("rebuild", str(work), "--wait")
        eventually(lambda: farm.json("show", "1")["state"] == "done", SET_UP_S)
        farm("wait", "1")
        assert set(wheels(farm.home)) == {"base-1-py3-none-any.whl", "leaf-1-py3-none-any.whl"}
        assert wheels(farm.home) == wheels(here.home)
        assert film(farm, folder, "cloud") == film(here, folder, "here")
        farm.until_nothing_is_left()
    finally:
        farm("down", "--terminate")
    assert "there is no Python with Ray here: installing ray" in instances.consoles()


def test_a_setup_that_fails_is_told_and_its_machine_goes(bench: Bench, instances: Instances, folder: Path):
    farm = Desk(bench, instances, folder, READY, 'setup = "#!/bin/sh\\necho no such luck\\nexit 3"')
    farm("up")
    try:
        farm("submit", "--", "true")
        eventually(lambda: "no such luck" in farm("why", "cloud"), PATIENCE_S)
        eventually(lambda: not instances.cloud.living() and not instances.on(), PATIENCE_S)
    finally:
        farm("down", "--terminate")
