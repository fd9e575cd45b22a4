"""Small private files of an owned machine: its token, whom it trusts."""

import os
from pathlib import Path

import pytest

from executors.site.note import write_note


def test_it_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, moved = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("fsync"), fsync(file))[1])
    monkeypatch.setattr(Path, "replace", lambda *files: (done.append("replace"), moved(*files))[1])
    write_note(tmp_path / "token", "one")
    write_note(tmp_path / "token", "two")
    assert done == ["fsync", "replace", "fsync"] * 2
    assert (tmp_path / "token").read_text() == "two"
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    assert os.listdir(tmp_path) == ["token"]
