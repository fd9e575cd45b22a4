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
