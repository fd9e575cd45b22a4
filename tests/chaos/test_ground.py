"""The campaign sees what a farm leaves behind, and leaves nothing itself."""

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from executors.site.cage import Cage
from executors.site.ground import base, of_executor
from tests.chaos import campaign
from tests.chaos.ground import Ground
from tests.chaos.terrain import Terrain


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cage:
    """Where control groups are made here; folders without any power on a machine without them."""
    made = base().only_kill()
    if made:
        return made
    monkeypatch.setattr("tests.chaos.ground.CGROUPS", str(tmp_path / "groups"))
    return Cage(tree=str(tmp_path / "groups"))


def planted(groups: Cage, folder: Path) -> str:
    """A group as of the executor in this folder, with one of a slot inside."""
    group = of_executor(groups, str(folder))
    group.below("0.1").make()
    return group.folders()[0]


@pytest.mark.parametrize("sign", ["executors/e-1/machine.json", "ended/e-1.json"])
def test_a_left_control_group_is_told_and_removed(tmp_path: Path, groups: Cage, sign: str) -> None:
    ground = Ground(tmp_path / "home", "plain", 1)
    pool = ground.home.pools / "local"
    (pool / sign).parent.mkdir(parents=True)
    (pool / sign).touch()
    mine = planted(groups, pool / "executors" / "e-1")
    others = planted(groups, tmp_path / "elsewhere" / "executors" / "e-1")
    try:
        assert ground.cgroups() == [mine]
        assert f"cgroup {mine}" in list(ground._system())
    finally:
        ground.clear()
        still = [os.path.exists(folder) for folder in (mine, others)]
        Cage(tree=others).remove()
    assert still == [False, True]


def test_executors_of_a_farm_are_known_by_its_database_and_when_the_disk_is_gone(tmp_path: Path, groups: Cage) -> None:
    ground = Ground(tmp_path / "home", "plain", 1)
    try:
        ground.up()
        ground.shell("wait", ground.shell("submit", "--", "true").split()[1])
        ((pool, name),) = ground._known()
        ground.down()
        for file in ground.home.pools.glob("*/ended/*"):
            file.unlink()
        left = planted(groups, ground.home.pools / pool / "executors" / name)
        assert ground.leftovers() == [f"cgroup {left}"]
        ground.home.database.unlink()
        assert ground.cgroups() == [left]
    finally:
        ground.clear()
    assert ground.cgroups() == []


class Swamp(Terrain):
    """One whose preparing, or what comes after it, fails."""

    def __init__(self, firm: bool) -> None:
        self.firm, self.cleared = firm, list[Path]()

    def prepare(self, folder: Path) -> dict[str, str]:
        if not self.firm:
            raise OSError("no ground")
        (folder / "home" / "farm.toml").mkdir(parents=True)  # so that no farm can be made there
        return {}

    def clear(self, folder: Path) -> None:
        self.cleared.append(folder)


@pytest.mark.parametrize("firm", [True, False])
def test_a_run_that_cannot_begin_is_cleared_away(monkeypatch: pytest.MonkeyPatch, firm: bool) -> None:
    swamp = Swamp(firm)

    def chosen(_choose: random.Random) -> Terrain:
        return swamp

    monkeypatch.setattr(campaign, "choose_terrain", chosen)
    with pytest.raises(OSError, match="no ground" if not firm else r"farm\.toml"):
        campaign.run(2)
    (folder,) = swamp.cleared
    assert not folder.exists()


def test_a_farm_up_that_does_not_end_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Ground(tmp_path / "home", "plain", 1)
    started = list[subprocess.Popen[str]]()

    def hang(*_words: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, text=True))
        return started[-1]

    monkeypatch.setattr(ground.shell, "start", hang)
    with pytest.raises(subprocess.TimeoutExpired):
        ground.up_twice(within_s=0.1)
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2
