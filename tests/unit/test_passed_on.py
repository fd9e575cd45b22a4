"""Secrets in the environment of the service stay there: whatever it starts is not given them."""

import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from executors import local
from executors.contract import Order, Surroundings
from executors.errors import Refused
from executors.passed_on import for_python, passed_on
from executors.vmclone import provider as clones
from executors.vmclone.image import run
from executors.vmclone.qemu import Shape
from executors.vmclone.recipe import Recipe, Spec
from farm import changes
from farm.home import Home
from farm.supervisor import Supervisor
from farm.workloads.packages import fetch

SECRET = "hush-hush-hush"
HOLDERS = ("FARM_DATABASE_URL", "FARM_TOKEN", "AWS_SECRET_ACCESS_KEY", "RENDER_LICENCE_KEY")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HOLDERS:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """The environments of all processes that are started."""
    found: list[Mapping[str, str]] = []

    def refuse(*_words: Any, env: Mapping[str, str] | None = None, **_more: Any) -> Any:
        found.append(env if env is not None else {"": SECRET})
        raise OSError(8, "not here")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    return found


def around(home: Path) -> Surroundings:
    place = str(home)
    return Surroundings("f1", "pool", place, place, f"{place}/store", "plain", timedelta(seconds=60))


def clean(env: Mapping[str, str]) -> bool:
    return "PATH" in env and SECRET not in env.values()


def test_what_is_of_use_is_passed_on():
    assert clean(passed_on())
    assert passed_on("https_proxy", "nobody_has_set_this")["https_proxy"] == "http://proxy:3128"
    assert (Path(for_python()["PYTHONPATH"]) / "executors").is_dir()


def test_not_to_an_executor_beside_the_farm(tmp_path: Path, started: list[Mapping[str, str]]):
    with pytest.raises(Refused):
        local.provider({"slots": 1, "ceiling": 1}, around(tmp_path)).launch(Order("a", "pool", 1, 1))
    assert list(map(clean, started)) == [True]


def test_not_to_the_gateway(tmp_path: Path, started: list[Mapping[str, str]]):
    home = Home(tmp_path / "home").make()
    home.make_run()
    supervisor = Supervisor(home, "local", "plain")
    with pytest.raises(OSError, match="not here"):
        supervisor._launch()
    assert list(map(clean, started)) == [True]
    (home.run / "cwd").rmdir()
    home.run.rmdir()


def test_not_to_who_makes_a_template_of_clones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[Mapping[str, str]]
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = Spec(Recipe("bookworm"), Shape(1, 512, "tcg", "7.2.22", "pc-q35-7.2"))
    with pytest.raises(OSError, match="not here"):
        clones.VmcloneProvider(clones.VmcloneOptions(), around(tmp_path))._begin(spec)
    assert list(map(clean, started)) == [True]
    assert started[0]["https_proxy"] == "http://proxy:3128"
    assert started[0]["XDG_CACHE_HOME"] == str(tmp_path)


def test_not_to_the_setup_of_a_template():
    assert SECRET not in (seen := run(["env"], ""))
    assert "https_proxy" in seen


def test_not_to_git_nor_to_pip():
    for env in (changes._environment(), fetch._environment()):
        assert clean(env)
    assert fetch._environment()["PIP_INDEX_URL"] == "https://index.example.org"
