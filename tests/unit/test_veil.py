"""What a task can not see of its executor, though it is of the same user: its token above all."""

import errno
import os
from collections.abc import Iterator

import pytest

from executors.site import veil
from executors.site.rung import FLOOR
from tests.unit.keeping import HOLDS, Hold, Talk, item

PRIVATE = {"run/token": "sesame-1", "standby": "sesame-2"}
LOOK = "cat run/token standby; ls -la run; find run; grep -ars sesame . ; cat /proc/*/root$PWD/run/token"
FORCE = """
umount run standby; rm -rf run standby; mv run elsewhere; mv standby other; ln standby link
unshare -Urm sh -c 'umount run; umount standby; cat run/token standby'
mount -t tmpfs none run; mount --bind / elsewhere
cat run/token standby elsewhere/* other link
"""


def holds(*, nobody: bool) -> list[Hold]:
    return [hold for hold in HOLDS if hold.rung.veils and (hold.nobody or not nobody)]


@pytest.fixture
def talk(request: pytest.FixtureRequest) -> Iterator[Talk]:
    made = Talk(request.param, PRIVATE)
    yield made
    made.close()


def said(talk: Talk, script: str) -> str:
    talk.run(item("a", "sh", "-c", f"cd {talk.folder}; {script}; echo looked"))
    (end,) = talk.until("a")
    return talk.output(end).decode(errors="replace")


@pytest.mark.parametrize("talk", holds(nobody=False), ids=str, indirect=True)
def test_a_task_does_not_see_what_is_its_executors(talk: Talk):
    told = said(talk, LOOK)
    assert "looked" in told
    assert "sesame" not in told
    assert (talk.folder / "run" / "token").read_text() == "sesame-1"


@pytest.mark.parametrize("talk", holds(nobody=True), ids=str, indirect=True)
def test_nor_by_force_where_it_is_not_root(talk: Talk):
    told = said(talk, FORCE + LOOK)
    assert "looked" in told
    assert "sesame" not in told
    assert (talk.folder / "run" / "token").read_text() == "sesame-1"
    assert (talk.folder / "standby").read_text() == "sesame-2"


@pytest.mark.parametrize("talk", holds(nobody=True), ids=str, indirect=True)
def test_what_it_took_is_given_up(talk: Talk):
    capabilities = said(talk, "grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status").splitlines()
    assert [line.split()[1].strip("0") for line in capabilities if line.startswith("Cap")] == [""] * 4


def test_what_stands_in_the_place_of_another_is_not_covered_instead(tmp_path):
    """A task may move folders that are its user's; the next keeper does not begin."""
    (tmp_path / "run").mkdir()
    covered = veil.covering([str(tmp_path / "run")])
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        veil.draw(covered)
    (tmp_path / "run").mkdir()
    with pytest.raises(PermissionError, match="is not what it was"):
        veil.draw(covered)


def test_the_floor_says_that_it_can_not():
    assert not FLOOR.veils
    assert "token" in FLOOR.loses


def test_what_is_not_there_needs_no_cover(tmp_path):
    (tmp_path / "a").touch()
    ((path, _device, inode),) = veil.covering([str(tmp_path / "a"), str(tmp_path / "b")])
    assert (path, inode) == (str(tmp_path / "a"), os.stat(path).st_ino)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO])
def test_where_nothing_can_be_covered_work_goes_on_and_it_is_told(tmp_path, monkeypatch, capsys, number):
    def denied(*_words):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(veil, "_mount", denied)
    monkeypatch.setattr(veil, "_drop", lambda: None)
    covered = veil.covering([str(tmp_path)])
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output"):
            veil.draw(covered)
    else:
        veil.draw(covered)
        assert f"tasks can see {tmp_path}: Operation not permitted" in capsys.readouterr().err
