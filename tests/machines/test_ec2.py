"""A farm whose executors are EC2 instances: nothing, then work, then nothing, with the same pixels and wheels."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.machines.bench import Bench
from tests.machines.desks.desk import PATIENCE_S
from tests.machines.desks.ec2 import BARE, Ec2Desk, cloud
from tests.machines.ec2_shim import Instances
from tests.machines.same_work import FRAMES, at_home, film, packages, wheels

SET_UP_S = 400  # Ray is installed by pip, and packages by apt


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fe-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture
def instances(bench: Bench) -> Iterator[Instances]:
    with cloud(bench) as made:
        yield made


@pytest.fixture
def farm(instances: Instances, folder: Path) -> Iterator[Ec2Desk]:
    with Ec2Desk(instances, folder) as desk:
        yield desk


def test_a_film_from_nothing_to_nothing(farm: Ec2Desk, folder: Path):
    assert farm.instances.cloud.living() == []
    there = film(farm, folder, "cloud")
    assert len(there) == FRAMES
    assert there == film(at_home(folder), folder, "here")
    farm.until_nothing_is_left()
    assert farm.json("database", "check")["findings"] == []
    _the_bill_is_complete(farm)


def _the_bill_is_complete(farm: Ec2Desk) -> None:
    """Every machine from its purchase to its end, as EC2 says; its times are whole seconds."""
    (row,) = farm.json("report", "usage", "--by", "pool")["rows"]
    assert (row["key"], min(row["boot_s"], row["busy_s"]) > 0) == ("cloud", True)
    billed = sum(row[kind] for kind in ("boot_s", "busy_s", "idle_s", "drain_s"))
    assert billed == pytest.approx(farm.lived_s(), abs=2 * len(farm.books()))
    assert float(row["cost"]) == pytest.approx(billed * 0.36 / 3600, abs=0.01)


def test_an_instance_whose_host_fails_costs_its_work_nothing(farm: Ec2Desk):
    farm("submit", "--", "sh", "-c", "[ ${FARM_ATTEMPT##*.} -gt 1 ] || sleep 300; echo done")
    eventually(lambda: farm.json("show", "1")["state"] == "running", PATIENCE_S)
    (at_work,) = eventually(lambda: [e["id"] for e in farm.executors() if e["busy"]])
    farm.instances.fail(farm.instance(at_work))
    farm("wait", "1")
    assert [e["id"] for e in farm.executors() if e["state"] == "lost"] == [at_work]


@pytest.mark.timeout(900)
def test_a_bare_image_is_set_up_first(instances: Instances, folder: Path):
    """It gets its Ray with pip, which is also what builds packages; POV-Ray comes by the pool's script."""
    setup = 'setup = "#!/bin/sh\\napt-get -q update && apt-get -q install -y povray"'
    here, work = at_home(folder), packages(folder / "work")
    with Ec2Desk(instances, folder, image=BARE, setup=setup) as farm:
        farm("rebuild", str(work))
        here("rebuild", str(work), "--wait")
        eventually(lambda: farm.json("show", "1")["state"] == "done", SET_UP_S)
        farm("wait", "1")
        assert set(wheels(farm.home)) == {"base-1-py3-none-any.whl", "leaf-1-py3-none-any.whl"}
        assert wheels(farm.home) == wheels(here.home)
        assert film(farm, folder, "cloud") == film(here, folder, "here")
        farm.until_nothing_is_left()
    assert "there is no Python with Ray here: installing ray" in instances.consoles()


def test_a_setup_that_fails_is_told_and_its_machine_goes(instances: Instances, folder: Path):
    setup = 'setup = "#!/bin/sh\\necho no such luck\\nexit 3"'
    with Ec2Desk(instances, folder, setup=setup) as farm:
        farm("submit", "--", "true")
        eventually(lambda: "no such luck" in farm("why", "cloud"), PATIENCE_S)
        eventually(lambda: not farm.left(), PATIENCE_S)
