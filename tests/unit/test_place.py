"""What killed executors have left in folders where everybody may write: only ours goes."""

import fcntl
import os
from pathlib import Path

import pytest

from executors.site import place
from executors.site.ground import base, of_executor, record


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(place, "_short", lambda: tmp_path)
    monkeypatch.setattr(place, "_roomy", lambda: tmp_path)
    for name in (place.RUN, place.ROOMY):
        (tmp_path / f"{name}1").mkdir()
    (tmp_path / f"{place.RUN}1" / "alive").touch()
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_one_has_left_goes(left: Path):
    place.sweep()
    assert names(left) == []


def test_its_control_groups_go_too(left: Path):
    roomy = next(left.glob(f"{place.ROOMY}*"))
    cage = of_executor(base(), str(roomy))
    cage.make()
    record(roomy, cage)
    place.sweep()
    assert not any(Path(folder).exists() for folder in cage.folders())


def test_who_lives_keeps_his_own(left: Path):
    before = names(left)
    with open(left / f"{place.RUN}1" / "alive") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place.sweep()
    assert names(left) == before


def test_what_belongs_to_others_is_not_touched(left: Path, monkeypatch: pytest.MonkeyPatch):
    before, other = names(left), os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    place.sweep()
    assert names(left) == before


def test_links_are_not_followed(left: Path):
    (left / f"{place.RUN}1").rename(left / "precious")
    (left / f"{place.RUN}1").symlink_to("precious")  # a folder that is a link
    (left / f"{place.RUN}2").mkdir()
    (left / f"{place.RUN}2" / "alive").symlink_to("../precious/alive")  # a lock that is one
    before = names(left)
    place.sweep()
    assert names(left) == before
