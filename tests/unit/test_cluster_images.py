"""Images for the cluster of the tests: made once though several want them, and never one for another of its name."""

import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.kubernetes import images, oci, place, space

NAME = "localhost/tried:tests"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The archives that containerd was given."""
    found: list[str] = []

    def run(words: Sequence[str], **_more: object) -> subprocess.CompletedProcess[str]:
        if "import" in words:
            assert Path(words[-1]).exists()
            found.append(Path(words[-1]).name)
        return subprocess.CompletedProcess(words, 0, NAME if found else "", "")

    monkeypatch.setattr(place, "images", lambda: tmp_path / "images")
    monkeypatch.setattr(place, "state", lambda: tmp_path)
    monkeypatch.setattr(space, "inside", list)
    monkeypatch.setattr(subprocess, "run", run)
    return found


class Maker:
    """Takes its time; whoever else makes one meanwhile would be seen."""

    def __init__(self) -> None:
        self.made, self._at_work, self.pause = 0, threading.Lock(), threading.Event()

    def __call__(self, work: Path) -> oci.Image:
        assert self._at_work.acquire(blocking=False), "two at once"
        self.pause.wait(0.1)
        self.made += 1
        layer = work / "layer"
        layer.write_bytes(b"x")
        self._at_work.release()
        return oci.Image(NAME, [layer])


def test_who_wants_it_while_it_is_made_waits_and_takes_that(imported: list[str]) -> None:
    make = Maker()
    with ThreadPoolExecutor(4) as many:
        found = list(many.map(lambda _: images.archive(NAME, "k1", make), range(4)))
    assert (make.made, len(set(found)), found[0].exists()) == (1, 1, True)


def test_two_checkouts_at_once_never_take_each_others_away(imported: list[str]) -> None:
    make = Maker()
    with ThreadPoolExecutor(2) as many:
        list(many.map(lambda n: images.have(NAME, f"k{n % 2}", make), range(6)))
    assert set(imported) == {"localhost-tried-tests-k0.tar", "localhost-tried-tests-k1.tar"}


def test_one_that_was_made_from_something_else_is_not_taken_for_it(imported: list[str]) -> None:
    for key in ("old", "old", "new"):
        images.have(NAME, key, Maker())
    assert imported == ["localhost-tried-tests-old.tar", "localhost-tried-tests-new.tar"]
