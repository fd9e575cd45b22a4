"""A farm whose executors are EC2 instances: nothing, then work, then nothing, with the same pixels and wheels."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.machines.bench import Bench
from tests.machines.demonstration import Demonstration, shown
from tests.machines.desks.desk import PATIENCE_S
from tests.machines.desks.ec2 import BARE, Ec2Desk, cloud
from tests.machines.ec2_shim import Instances
from tests.machines.same_work import at_home, film, packages, wheels

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


@pytest.mark.timeout(1800)
def test_a_film_and_packages_from_nothing_to_nothing_are_shown(folder: Path):
    shown("ec2", folder)


@pytest.mark.timeout(400)
def test_who_interrupts_the_demo_leaves_nothing(folder: Path):
    run = Demonstration("ec2", folder / "out")
    run.until("$ farm render")
    run.interrupt()
    status, said = run.ended()
    assert (status, said) == (130, "")
    assert "Traceback" not in run.story


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
