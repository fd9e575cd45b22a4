"""`farm demo`: what is wrong is told in a sentence before anything is begun."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from demo import ground
from demo.kinds import KINDS, STATIC
from demo.story import fresh
from farm.cli import demo, main
from farm.refusal import Refusal, Unavailable

SOURCE = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("kubernets", "did you mean 'kubernetes'?"),
        ("moon", "there are ec2, kubernetes, local, static, vmclone"),
        ("", "there are ec2, kubernetes, local, static, vmclone"),
    ],
)
def test_an_unknown_kind_is_told_with_the_nearest(typed, said, capsys):
    assert main(["demo", "--on", typed]) == 2
    assert capsys.readouterr().err == f"farm: --on: there is no kind of machine {typed!r}; {said}\n"


def test_it_takes_the_source(tmp_path):
    demo.check("static", SOURCE)
    with pytest.raises(Unavailable, match="installed without it; get the source"):
        demo.check("static", tmp_path)


def test_the_command_knows_every_kind():
    assert set(demo.KINDS) == {"local", *KINDS}


def test_who_is_not_root_is_told_what_to_type(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match=r"are made by root; type: sudo .*farm demo --on static"):
        ground.prepare(STATIC)


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Unavailable, match="no_such_module is missing; type there: make env"):
        ground.prepare(replace(STATIC, modules=("no_such_module",)))
    with pytest.raises(Unavailable, match=r"could not be installed; see above; then type there: sh tools/programs\.sh"):
        ground.install(["no-such-group"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match="there is no Go here; install Go"):
        ground.prepare(replace(KINDS["kubernetes"], programs=()))


def test_a_folder_loses_only_what_an_earlier_demo_has_left_in_it(tmp_path):
    for name in ("film.mp4", "mine.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "simple").mkdir()
    fresh(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(Refusal, match="can't be made: Not a directory; name another folder with --out"):
        fresh(tmp_path / "mine.txt" / "below")
