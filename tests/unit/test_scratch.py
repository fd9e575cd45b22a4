"""What a work leaves behind, by its names."""

import os

import pytest

from executors.contract import Work
from executors.site.scratch import Desk, NoOutputs
from executors.store import FolderStore


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "w", Work("1.1.1", 1, 1, ("true",), outputs=("out",)))
    (tmp_path / "w").mkdir()
    made.prepare(FolderStore(tmp_path / "store"))
    os.mkdir(os.path.join(made.cwd, "out"))
    return made


def test_an_output_whose_name_is_no_text_fails_its_task_alone(desk, tmp_path):
    """No report could carry it: the executor would tell of it for ever, and of nothing else."""
    open(os.path.join(os.fsencode(desk.cwd), b"out", b"\xff.png"), "wb").close()
    with pytest.raises(NoOutputs, match="not UTF-8") as told:
        desk.collect(FolderStore(tmp_path / "store"))
    assert str(told.value).isascii()


def test_names_of_every_alphabet_come_along(desk, tmp_path):
    names = ["a\nb", "ü", "漢字", 'it\'s "x"', "👩‍🚀"]
    for name in names:
        open(os.path.join(desk.cwd, "out", name), "wb").close()
    found = desk.collect(FolderStore(tmp_path / "store"))
    assert {ref.path for ref in found} == {f"out/{name}" for name in names}


def test_links_that_lead_out_are_left_out_and_told(desk, tmp_path):
    os.symlink("/etc/passwd", os.path.join(desk.cwd, "out", "secret"))
    os.symlink("/etc", os.path.join(desk.cwd, "out", "folder"))
    with pytest.raises(NoOutputs, match=r"'out' below .*: 2 links lead out of its folder and were left out"):
        desk.collect(FolderStore(tmp_path / "store"))
    open(os.path.join(desk.cwd, "out", "true"), "wb").close()
    assert [ref.path for ref in desk.collect(FolderStore(tmp_path / "store"))] == ["out/true"]
    assert "out of its folder" in desk.left_out()


def test_a_linked_folder_is_one_link_whatever_is_in_it(tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    for name in "abc":
        (away / name).touch()
    desk = Desk(tmp_path / "w", Work("1.1.1", 1, 1, ("true",), outputs=("**/*",)))
    (tmp_path / "w").mkdir()
    desk.prepare(FolderStore(tmp_path / "store"))
    os.symlink(away, os.path.join(desk.cwd, "there"))
    with pytest.raises(NoOutputs, match="1 link leads out of its folder and was left out"):
        desk.collect(FolderStore(tmp_path / "store"))


def test_without_links_nothing_is_told_of_them(desk, tmp_path):
    with pytest.raises(NoOutputs, match=r"below the working folder$"):
        desk.collect(FolderStore(tmp_path / "store"))
    assert desk.left_out() == ""
