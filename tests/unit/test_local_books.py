"""The books of the local provider after a disk that died: files are there, and empty."""

import os
from pathlib import Path

from executors.contract import MachineState
from executors.local_books import Books


def damaged(home: Path, age_s: float) -> Books:
    books = Books(home, "local")
    folder = books.open("abc-1", "abc", 1)
    (folder / "order.json").write_text("")
    (folder / "machine.json").write_text("")
    then = folder.stat().st_mtime - age_s
    os.utime(folder, (then, then))
    return books


def test_a_folder_whose_order_is_lost_has_ended_and_goes(tmp_path: Path) -> None:
    books = damaged(tmp_path, 60)
    (machine,) = books.machines(lambda _name: None)
    assert (machine.id, machine.state) == ("abc-1", MachineState.ENDED)
    assert not (tmp_path / "executors" / "abc-1").exists()


def test_one_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    assert damaged(tmp_path, 0).machines(lambda _name: None) == []
    assert (tmp_path / "executors" / "abc-1").exists()


def test_one_that_lives_is_left_alone(tmp_path: Path) -> None:
    assert damaged(tmp_path, 60).machines(lambda _name: True) == []
    assert (tmp_path / "executors" / "abc-1").exists()
